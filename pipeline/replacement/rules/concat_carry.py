"""A concat of branches of one value that can be negative → a wider chain that carries it with an offset, learned.

DenseNet's layers put what they compute beside what they read, before any activation. As in ``residual-carry``, copies
pass the activations as ``scale·x + offset``, where these are the identity over the calibration images; the last layer
takes both back. Maps grow from layer to layer, and the copies with them: worth it only for the first, large ones.
Branches that only learned rules made into KPU layers are merged here too, without an offset where ``concat-merge``
would need none.
"""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.network.modules import Concat
from pipeline.replacement.merge_chain import chain
from pipeline.replacement.merge_cost import initialise_merge, judge_merge, read_carry
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def _match(site: Site) -> Match | Miss:
    concat = site.module()
    assert isinstance(concat, Concat)
    if concat.dim != 1:
        return Miss("not along the channels")
    merge = read_carry(site, "concat")
    return merge if isinstance(merge, Miss) else judge_merge(site, merge)


def _build(site: Site, match: Match) -> Built:
    merge = read_carry(site, "concat")
    assert not isinstance(merge, Miss)
    return Built(chain(merge.layers, blank=True))


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    merge = read_carry(site, "concat")
    assert not isinstance(merge, Miss)
    initialise_merge(merge, chain, inputs)


RULE = Rule(
    name="concat-carry",
    kind="learned",
    concerns=(Concat,),
    matches="a concat of convolution branches of one value that can be negative (DenseNet's layers)",
    becomes="the longest branch's convolutions, widened by copies of the value with an offset",
    why="nncase 1.9 runs a concat in float on the CPU, with a conversion from and to uint8 around it",
    source="measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
