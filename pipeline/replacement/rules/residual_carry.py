"""A sum of branches of one value that can be negative → a wider chain that carries the value with an offset, learned.

MobileNetV2's block adds its input, the output of a 1×1 without activation, to what an expansion, a depthwise and a
projection make of it. Reserve-and-merge (see ``merge``) needs copies that ReLU leaves as they are. So channel c is
carried as ``scale·x + offset``, which puts the range that it has over calibration images, and a tenth more on either
side, where the activations are the identity (0…6 for ReLU6); the last 1×1 takes scale and offset back. It is exact
while x stays in that range, so regression has little to do. The copies are cheap: they pass the depthwise layer as one
channel more each. Branches that only learned rules made into KPU layers are merged here too, without an offset where
``residual-merge`` would need none.
"""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.network.modules import Add
from pipeline.replacement.merge_chain import chain
from pipeline.replacement.merge_cost import initialise_merge, judge_merge, read_carry
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def _match(site: Site) -> Match | Miss:
    merge = read_carry(site, "sum")
    return merge if isinstance(merge, Miss) else judge_merge(site, merge)


def _build(site: Site, match: Match) -> Built:
    merge = read_carry(site, "sum")
    assert not isinstance(merge, Miss)
    return Built(chain(merge.layers, blank=True))


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    merge = read_carry(site, "sum")
    assert not isinstance(merge, Miss)
    initialise_merge(merge, chain, inputs)


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
