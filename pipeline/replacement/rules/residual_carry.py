"""A sum of branches of one value that can be negative → a wider chain that carries the value with an offset, learned.

MobileNetV2's block adds its input, the output of a 1×1 without activation, to what an expansion, a depthwise and a
projection make of it. Reserve-and-merge (see ``merge``) needs copies that ReLU leaves as they are. So channel c is
carried as ``scale·x + offset``, which puts the range that it has over calibration images, and a tenth more on either
side, where the activations are the identity (0…6 for ReLU6); the last 1×1 takes scale and offset back. It is exact
while x stays in that range, so regression has little to do. The copies are cheap: they pass the depthwise layer as one
channel more each.
"""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.network.modules import Add
from pipeline.replacement.activations import range_of
from pipeline.replacement.branches import Branches, read_branches
from pipeline.replacement.merge import Layer, carry, chain, describe_plan, fits, plan, set_weights
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def _match(site: Site) -> Match | Miss:
    planned = _plan(site)
    if isinstance(planned, Miss):
        return planned
    branches, layers = planned
    size = site.size(branches.origin)
    too_large = fits(layers, size) if size is not None else None
    return too_large or Match((*branches.nodes, site.node), describe_plan(branches.steps, layers))


def _plan(site: Site) -> tuple[Branches, tuple[Layer, ...]] | Miss:
    branches = read_branches(site, site.node.args)
    if isinstance(branches, Miss):
        return branches
    given = range_of(site, branches.origin)
    if not isinstance(plan(branches.steps, branches.channels, given, "sum"), Miss):
        return Miss("residual-merge does it exactly")
    layers = plan(branches.steps, branches.channels, given, "sum", shifted=True)
    return layers if isinstance(layers, Miss) else (branches, layers)


def _build(site: Site, match: Match) -> Built:
    planned = _plan(site)
    assert not isinstance(planned, Miss)
    return Built(chain(planned[1], blank=True))


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    planned = _plan(site)
    assert not isinstance(planned, Miss)
    set_weights(planned[1], chain, carry(planned[1], inputs))


RULE = Rule(
    name="residual-carry",
    kind="learned",
    concerns=(Add,),
    matches="a sum of convolution branches of one value that can be negative (MobileNetV2's blocks)",
    becomes="the longest branch's convolutions, widened by copies of the value with an offset; the last one adds",
    why="nncase 1.9 makes of a sum a float concat on the CPU and a 1×1 convolution",
    source="RMNet, arXiv 2111.00687; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
