"""A concat of branches of one value → a chain of wider convolutions that writes all of them side by side.

SqueezeNet's Fire module (1×1 beside 3×3 → one 3×3), Inception modules without max-pool, the value itself beside what is
computed from it (DenseNet). See ``merge`` for the algebra and for what it costs.
"""

from __future__ import annotations

from pipeline.network.modules import Concat
from pipeline.replacement.merge_chain import chain
from pipeline.replacement.merge_cost import judge_merge, read_merge
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def _match(site: Site) -> Match | Miss:
    concat = site.module()
    assert isinstance(concat, Concat)
    if concat.dim != 1:
        return Miss("not along the channels")
    merge = read_merge(site, "concat")
    return merge if isinstance(merge, Miss) else judge_merge(site, merge)


def _build(site: Site, match: Match) -> Built:
    merge = read_merge(site, "concat")
    assert not isinstance(merge, Miss)
    return Built(chain(merge.layers))


RULE = Rule(
    name="concat-merge",
    kind="exact",
    concerns=(Concat,),
    matches="a concat of convolution branches of one value, itself among them or not, with the same activations",
    becomes="the longest branch's convolutions, each as wide as all branches; a shorter branch is copied on",
    why="nncase 1.9 runs a concat in float on the CPU, with a conversion from and to uint8 around it",
    source="measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
