"""Dense 3×3 of more than 64 weight loads → 1×1 to fewer channels, then 3×3, learned.

The other order of ``many_loads``, which loses least where the layer reads channels that hold much the same, or that it
hardly uses (``low_rank.by_inputs``): 512→512 becomes 1×1 512→426 and 3×3 426→512.

Measured on the zoo's `wide`, 856→196 on maps of 4×4, unseen images: error at a random start 3.6, after 300 steps of
regression 0.08; from this start 0.0001, which regression does not better; accuracy 92.40 % as before, for 2.7 times the
cycles of ``many_loads``.
"""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.kpu import limits
from pipeline.replacement.convolution import blank_conv, describe, pair
from pipeline.replacement.loads import free_rank, too_many_loads, widest_input
from pipeline.replacement.low_rank import by_inputs
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site


def _match(site: Site) -> Match | Miss:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    loads = too_many_loads(conv)
    if isinstance(loads, Miss):
        return loads
    return Match((site.node,), f"{describe(conv)}, {loads} weight loads; inputs of rank {_rank(conv)}")


def _rank(conv: nn.Conv2d) -> int:
    inputs, outputs, kernel = conv.in_channels, conv.out_channels, pair(conv.kernel_size)[0]
    return min(widest_input(outputs, kernel), free_rank(inputs, kernel * kernel * outputs))


def _build(site: Site, match: Match) -> Built:
    conv = site.module()
    assert isinstance(conv, nn.Conv2d)
    rank = _rank(conv)
    mix = blank_pointwise(conv.in_channels, rank)
    mix.bias = None  # behind it, the padding is 0
    chain = nn.Sequential()
    chain.add_module("mix", mix)
    chain.add_module("spatial", blank_conv(rank, conv.out_channels, bias=True, stride=pair(conv.stride)))
    return Built(chain)


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    conv = site.module()
    mix, spatial = chain
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(mix, nn.Conv2d)
    assert isinstance(spatial, nn.Conv2d)
    by_inputs(conv, mix, spatial, inputs, outputs)


RULE = Rule(
    name="many-loads-inputs",
    kind="learned",
    concerns=(nn.Conv2d,),
    matches=f"dense 3×3 of more than {limits.MAX_WEIGHT_LOADS} weight loads",
    becomes="1×1 to as many channels as are within the limit, and 3×3: the inputs' parts that it reads most",
    why="the KPU counts weight loads in 6 bits and nncase 1.9 does not check: the chip computes some channels only",
    source="codegen/ops/k210/kpu_conv2d.cpp:40 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
