"""Which rule a layer's replacement should come from, where several match: by name, and what there is to choose from."""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx

from pipeline.errors import RecipeError
from pipeline.network.contract import InputContract
from pipeline.replacement.rule import Match, Rule, Site
from pipeline.replacement.rules import all_rules


def preferred_rules(names: Mapping[str, str]) -> dict[str, Rule]:
    """Return the rule of each layer's name. Raises RecipeError where there is no rule of that name."""
    known = {rule.name: rule for rule in all_rules()}
    for layer, name in names.items():
        if name not in known:
            raise RecipeError(
                f"{name} is no replacement rule",
                where=f"replace.prefer: {layer}",
                remedy=f"rules: {', '.join(sorted(known))}",
            )
    return {layer: known[name] for layer, name in names.items()}


def rivals(network: fx.GraphModule, contract: InputContract) -> dict[str, tuple[str, ...]]:
    """Return, for each layer that several rules match as it is, their names in the order in which they are asked."""
    found = {}
    for node in network.graph.nodes:
        if node.op != "call_module":
            continue
        site = Site(network, node, contract)
        asked = [rule for rule in all_rules() if isinstance(site.module(), rule.concerns)]
        names = tuple(rule.name for rule in asked if isinstance(rule.match(site), Match))
        if len(names) > 1:
            found[str(node.target)] = names
    return found
