"""Whether a merge is worth its weights: against the KPU's limits, and against what the CPU would need instead.

Nothing but its size speaks against a merge whose weights do not grow much. A larger one must make up for itself: the
kmodel lies in the same main memory as the float maps of the sum or concat that it saves, so both are added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, fx, nn

from pipeline.kpu.limits import KPU_MEMORY_BYTES, MAX_CHANNELS, MAX_WEIGHT_LOADS, weight_loads
from pipeline.kpu.memory.feature_map import map_bytes
from pipeline.replacement.activations import range_of
from pipeline.replacement.branches import Branches, Step, read_branches
from pipeline.replacement.cost import Cost, part_cost
from pipeline.replacement.merge import Join, Layer, plan, weights
from pipeline.replacement.merge_chain import carry, chain, set_weights
from pipeline.replacement.rule import Match, Miss, Site
from pipeline.replacement.window import fit_window

MOST_GROWTH = 3.0
"""Weights of the chain over those of the branches that are taken as they come. A basic block of ResNet doubles."""
_SMALL = 16384
"""Weights (bytes in a kmodel) below which growth does not matter."""


@dataclass(frozen=True)
class Merge:
    """Branches, and the chain that they would become.

    Attributes:
        branches: what was there.
        layers: the chain.
        shifted: whether the value that all branches read is carried with an offset.
    """

    branches: Branches
    layers: tuple[Layer, ...]
    shifted: bool

    @property
    def match(self) -> str:
        """Branches, widths and weights for a report."""
        before = _weights_before(self.branches.steps)
        widths = "→".join(str(layer.inputs) for layer in self.layers)
        return (
            f"{len(self.branches.steps)} branches; {widths}→{self.layers[-1].outputs} channels, "
            f"{before:,}→{weights(self.layers):,} weights"
        )


def read_merge(site: Site, join: Join, *, shifted: bool = False, pools: bool = False) -> Merge | Miss:
    """Return what the branches that end in the site's layer would become, or why there is no such chain.

    Args:
        site: a sum or a concat.
        join: which of the two.
        shifted: whether the value that all branches read is carried with an offset.
        pools: whether convolutions stand for max-pools, to be fitted to them.
    """
    reasons: list[Miss] = []
    for joined in (False, True):
        branches = read_branches(site, site.node.args, joined=joined, pools=pools)
        if isinstance(branches, Miss):
            return branches
        layers = plan(branches.steps, branches.channels, range_of(site, branches.origin), join, shifted=shifted)
        if not isinstance(layers, Miss):
            return Merge(branches, layers, shifted)
        reasons.append(layers)
    return reasons[-1]


def read_carry(site: Site, join: Join) -> Merge | Miss:
    """Return the chain for branches as learned rules left them: without an offset where that is enough."""
    exact = read_merge(site, join, pools=True)
    return exact if isinstance(exact, Merge) else read_merge(site, join, shifted=True, pools=True)


def initialise_merge(merge: Merge, made: nn.Sequential, inputs: Tensor) -> None:
    """Set the weights of ``made``, the merge's chain, for ``inputs`` (N×C×H×W) of the branches."""
    for step in (step for steps in merge.branches.steps for step in steps if step.pool):
        conv = step.parts[0]
        assert isinstance(conv, nn.Conv2d)
        fit_window(conv, inputs, nn.Sequential(*step.pool)(inputs))
    set_weights(merge.layers, made, carry(merge.layers, inputs) if merge.shifted else None)


def judge_merge(site: Site, merge: Merge) -> Match | Miss:
    """Return the match, or which limit the chain breaks, or by how much the CPU's way is cheaper."""
    layers = merge.layers
    over = _over_limits(layers)
    if over is not None:
        return over
    size = site.size(merge.branches.origin)
    too_large = None if size is None else _over_memory(layers, size)
    if too_large is not None:
        return too_large
    before, after = _weights_before(merge.branches.steps), weights(layers)
    if after > max(MOST_GROWTH * before, _SMALL):
        if size is None:
            return Miss(f"merged, its {before:,} weights would be {after:,}, more than {MOST_GROWTH:g} times as many")
        dearer = _dearer(site, merge, (merge.branches.channels, *size))
        if dearer is not None:
            return dearer
    return Match((*merge.branches.nodes, site.node), merge.match)


def _dearer(site: Site, merge: Merge, shape: tuple[int, int, int]) -> Miss | None:
    """Why the chain is worse than what it replaces, each as a network of its own; None if it is not."""
    made = part_cost(chain(merge.layers, blank=True), shape, float_output=False)
    given = part_cost(_region(site, merge.branches), shape, float_output=False)
    if made.kpu_bytes > KPU_MEMORY_BYTES:
        return Miss(f"merged, it would need {made.kpu_bytes:,} bytes of the KPU's {KPU_MEMORY_BYTES:,}")
    if made.main_bytes > given.main_bytes:
        return Miss(f"merged, it would take {_price(made)}, and as it is {_price(given)} and the CPU's copies")
    return None


def _price(cost: Cost) -> str:
    return (
        f"{cost.main_bytes:,} bytes of main memory ({cost.kmodel_bytes:,} of kmodel, {cost.heap_bytes:,} of heap) "
        f"and {cost.cycles:,} cycles of the KPU"
    )


def _region(site: Site, branches: Branches) -> fx.GraphModule:
    """The branches and their end as a network that reads their common value."""
    graph = fx.Graph()
    copied = {branches.origin: graph.placeholder("x")}
    for node in (*branches.nodes, site.node):
        copied[node] = graph.node_copy(node, copied.__getitem__)
    graph.output(copied[site.node])
    return fx.GraphModule(site.network, graph)


def _weights_before(branches: Sequence[Sequence[Step]]) -> int:
    return sum(step.weights for steps in branches for step in steps)


def _over_memory(layers: Sequence[Layer], size: tuple[int, int]) -> Miss | None:
    """Why the chain does not fit the KPU's memory for an input of ``size`` (height, width), None if it does."""
    for number, layer in enumerate(layers, 1):
        after = layer.size(size)
        needed = map_bytes(layer.inputs, *size) + map_bytes(layer.outputs, *after)
        if needed > KPU_MEMORY_BYTES:
            return Miss(
                f"merged layer {number} ({layer.inputs}→{layer.outputs} channels at {size[0]}×{size[1]}) needs "
                f"{needed:,} bytes of the KPU's {KPU_MEMORY_BYTES:,}"
            )
        size = after
    return None


def _over_limits(layers: Sequence[Layer]) -> Miss | None:
    for layer in layers:
        if max(layer.inputs, layer.outputs) > MAX_CHANNELS:
            return Miss(
                f"merged, a layer would have {max(layer.inputs, layer.outputs):,} channels, over {MAX_CHANNELS}"
            )
        loads = weight_loads(layer.inputs, layer.outputs, max(layer.kernel), layer.by_channel)
        if loads > MAX_WEIGHT_LOADS:
            return Miss(
                f"merged, a {layer.kernel[0]}×{layer.kernel[1]} of {layer.inputs}→{layer.outputs} channels would be "
                f"loaded in {loads} portions, over {MAX_WEIGHT_LOADS}"
            )
    return None
