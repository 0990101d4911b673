"""A 3×3 max-pool → two of the KPU's 2×2 pools, exact.

The KPU's 2×2 pool of stride 1 gives ``m[j] = max(x[j], x[j+1])`` (at the end ``x[j]`` alone) and keeps the size. Then
``max(m[j], m[j+1]) = max(x[j], x[j+1], x[j+2])``: a second 2×2 pool, of stride 1 or 2, makes it a 3×3. Where the window
begins a pixel earlier (padding 1), a depthwise 3×3 of a single one moves m by that pixel between the two; it moves a
zero in, which changes no maximum of values that are at least zero. Larger odd windows of stride 1 are 3×3 windows
in a row. As every pool needs a dense convolution before it, a 1×1 identity stands where there is none.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.replacement.activations import range_of
from pipeline.replacement.convolution import blank_conv, pair
from pipeline.replacement.pools import (
    MOST_CHANNELS,
    MaxPool,
    feeding_conv,
    identity,
    pool_2x2_in_place,
    read_max_pool,
)
from pipeline.replacement.rule import Built, Match, Miss, Rule, Site

_LARGEST = 7


def _match(site: Site) -> Match | Miss:
    pool = site.module()
    assert isinstance(pool, nn.MaxPool2d)
    if pair(pool.kernel_size)[0] % 2 == 0:  # before the network is run for its sizes
        return Miss("not an odd window")
    read = read_max_pool(site)
    if isinstance(read, Miss):
        return read
    reason = _unlike(read)
    if reason:
        return Miss(reason)
    channels = read.shape[0]
    if channels > MOST_CHANNELS:
        return Miss(f"{channels:,} channels: the identity between its pools would take {channels**2:,} bytes")
    if any(read.begin) and range_of(site, read.nodes[0].all_input_nodes[0])[0] < 0:
        return Miss("it may read negative values, for which a moved map has no padding")
    size, stride = read.kernel[0], read.stride[0]
    return Match(read.nodes, f"{size}×{size}, stride {stride}, {channels} channels")


def _unlike(read: MaxPool) -> str:
    """Why the KPU's pools do not make this one; "" if they do."""
    size, stride = read.kernel[0], read.stride[0]
    if read.kernel != (size, size) or read.stride != (stride, stride) or size % 2 == 0 or not 3 <= size <= _LARGEST:
        return f"{read.kernel[0]}×{read.kernel[1]}, stride {read.stride[0]}×{read.stride[1]}, is no odd square window"
    if stride == 1:
        if read.gives != read.shape[1:] or read.begin != (size // 2, size // 2):
            return "its output has not the size of its input"
    elif stride != 2 or size != 3:
        return f"{size}×{size} with stride {stride}"
    elif read.gives != tuple(side // 2 for side in read.shape[1:]) or max(read.begin) > 1:
        return f"{read.shape[1]}×{read.shape[2]} does not become half of that, rounded down, as in the KPU's pool"
    return ""


def _build(site: Site, match: Match) -> Built:
    read = read_max_pool(site)
    assert isinstance(read, MaxPool)
    channels, stride = read.shape[0], read.stride[0]
    layers: list[nn.Module] = []
    if feeding_conv(site, read.nodes[0].all_input_nodes[0]) is None:
        layers.append(identity(channels))
    stages = read.kernel[0] // 2
    begin = (read.begin[0] // stages, read.begin[1] // stages)
    for stage in range(stages):
        if stage:
            layers.append(identity(channels))
        layers.extend(pool_2x2_in_place())
        if any(begin):
            layers.append(_moved(channels, begin))
        layers.append(identity(channels))
        layers.extend(pool_2x2_in_place() if stride == 1 else (nn.MaxPool2d(2, 2),))
    chain = nn.Sequential()
    for index, layer in enumerate(layers):
        chain.add_module(f"part{index + 1}", layer)
    return Built(chain)


def _moved(channels: int, begin: tuple[int, int]) -> nn.Conv2d:
    """A depthwise 3×3 that moves the map down and right by ``begin``, zeros coming in."""
    conv = blank_conv(channels, channels, bias=False, groups=channels)
    with torch.no_grad():
        conv.weight[:, :, 1 - begin[0], 1 - begin[1]] = 1.0
    return conv


RULE = Rule(
    name="max-pool-cascade",
    kind="exact",
    concerns=(nn.MaxPool2d,),
    matches=f"max-pools 3×3 of stride 2 that halve the map rounded down, and 3×3…{_LARGEST}×{_LARGEST} of stride 1 "
    f"that keep its size; up to {MOST_CHANNELS} channels",
    becomes="2×2 pools of the KPU behind 1×1 identities; where there was padding, a depthwise 3×3 moves the map",
    why="the KPU pools 2×2 and 4×4 alone: nncase 1.9 runs other windows in float32 on the CPU",
    source="kpu_utils.h:57 of nncase v1.9.0; measured with nncase 1.9.0.20230322",
    match=_match,
    build=_build,
)
