"""A sum of branches of one value → a chain of wider convolutions that carries the value along: reserve-and-merge.

Basic blocks of ResNet (identity, 1×1 and option-A shortcuts), branches of one step each (RepVGG), a step with an
activation plus its input. See ``merge`` for the algebra. The activation after the sum stays and is fused into the last
convolution.
"""

from __future__ import annotations

from pipeline.network.modules import Add
from pipeline.replacement.merge_chain import chain
from pipeline.replacement.merge_cost import judge_merge, read_merge
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def _match(site: Site) -> Match | Miss:
    merge = read_merge(site, "sum")
    return merge if isinstance(merge, Miss) else judge_merge(site, merge)


def _build(site: Site, match: Match) -> Built:
    merge = read_merge(site, "sum")
    assert not isinstance(merge, Miss)
    return Built(chain(merge.layers))


RULE = Rule(
    name="residual-merge",
    kind="exact",
    concerns=(Add,),
    matches="a sum of convolution branches of one value, itself among them or not, that ReLU does not change (residual "
    "blocks with an identity, a 1×1 or a strided and zero-padded shortcut)",
    becomes="the longest branch's convolutions, widened by copies of what the others need; the last one adds",
    why="nncase 1.9 makes of a sum a float concat on the CPU and a 1×1 convolution: 196,608 bytes of heap and 34 CPU "
    "operators in ResNet20, 20,480 and 7 without",
    source="RMNet, arXiv 2111.00687; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
