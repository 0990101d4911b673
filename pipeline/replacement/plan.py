"""The network as it will be after all replacements, before any of them is fitted."""

from __future__ import annotations

from torch import fx

from pipeline.network.contract import InputContract
from pipeline.recipe import Replace
from pipeline.replacement.prefer import preferred_rules
from pipeline.replacement.rewrite import rewrite
from pipeline.replacement.rules import all_rules
from pipeline.replacement.swapped import with_activation


def structure(
    network: fx.GraphModule, contract: InputContract | None = None, settings: Replace | None = None
) -> fx.GraphModule:
    """Return ``network`` with every rule applied, the weights of learned layers zero; ``network`` is not changed.

    For questions about shapes and sizes (how many bytes will this be?), a few milliseconds. Untouched layers share
    their weights with ``network``: copy before training.

    Args:
        network: as ``to_torch`` gives it.
        contract: its input. Without it, rules that need the image's size or normalisation do not apply: a 2×2
            kernel of stride 2, and the fold of a per-channel normalisation (which changes no size).
        settings: whose preferred rules and activation are taken.

    Raises:
        RecipeError: a rule preferred is none.
    """
    if settings is None:
        return rewrite(network, contract, all_rules()).network
    swapped, _ = with_activation(network, settings.activation)
    return rewrite(swapped, contract, all_rules(), prefer=preferred_rules(settings.prefer)).network
