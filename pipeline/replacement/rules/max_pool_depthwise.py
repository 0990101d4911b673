"""A 3×3 max-pool → a depthwise 3×3, learned: the nearest weighted mean of each window, and a summand.

For pools that the KPU's own do not make, or only behind an identity too large (see ``max-pool-cascade``). Nine weights
and the summand of each channel are least squares on the pool's own inputs and outputs.
"""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.replacement.convolution import blank_conv, pair
from pipeline.replacement.pools import MaxPool, read_max_pool
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site
from pipeline.replacement.window import fit_window


def _match(site: Site) -> Match | Miss:
    pool = site.module()
    assert isinstance(pool, nn.MaxPool2d)
    if pair(pool.kernel_size) != (3, 3):  # before the network is run for its sizes
        return Miss("not 3×3")
    read = read_max_pool(site)
    if isinstance(read, Miss):
        return read
    stride = read.stride[0]
    if read.stride != (stride, stride) or stride > 2:
        return Miss("its stride is neither 1 nor 2")
    if read.gives != tuple((side - 1) // stride + 1 for side in read.shape[1:]):
        return Miss(f"{read.shape[1]}×{read.shape[2]} does not become what a 3×3 convolution with padding 1 gives")
    return Match(read.nodes, f"3×3, stride {stride}, {read.shape[0]} channels")


def _build(site: Site, match: Match) -> Built:
    read = read_max_pool(site)
    assert isinstance(read, MaxPool)
    channels = read.shape[0]
    return Built(nn.Sequential(blank_conv(channels, channels, bias=True, stride=read.stride, groups=channels)))


def _initialise(site: Site, match: Match, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, seed: int) -> None:
    (conv,) = chain
    assert isinstance(conv, nn.Conv2d)
    fit_window(conv, inputs, outputs)


RULE = Rule(
    name="max-pool-depthwise",
    kind="learned",
    concerns=(nn.MaxPool2d,),
    matches="max-pools 3×3 of stride 1 or 2 whose output has the size that a 3×3 convolution with padding 1 gives",
    becomes="a depthwise 3×3 with the pool's stride",
    why="the KPU pools 2×2 and 4×4 alone: nncase 1.9 runs other windows in float32 on the CPU",
    source="kpu_utils.h:57 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
    initialise=_initialise,
)
