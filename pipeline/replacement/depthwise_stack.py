"""Large depthwise kernels as stacks of depthwise 3×3: what two rules have in common.

The stack has no activation between, as the layer replaced is linear. With several branches a 1×1 before it repeats each
channel and one behind it sums the branches, which a channel's kernel then is the sum of products of.

A kernel with b zeros before the image begins b taps before the pixel of its output; the stack reaches as far to either
side. TensorFlow's SAME, with fewer zeros before than behind, is such a case. A dilated kernel is one with zeros in its
gaps.

The KPU has no depthwise of stride 2. A 1×1 drops every other pixel: of a single branch behind the first 3×3, so that
the others are four times cheaper and reach twice as far; of several the one that sums them, as between J copies of C
channels it would weigh J² times as much as between C.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from pipeline.kpu.limits import MAX_CHANNELS, MIN_SIDE
from pipeline.replacement.convolution import blank_conv, describe, pair
from pipeline.replacement.depthwise_factors import correlations, factorise_channels, solve_last
from pipeline.replacement.maps import value_shape
from pipeline.replacement.picks import copying
from pipeline.replacement.pointwise import blank_pointwise
from pipeline.replacement.rule import Built, Match, Miss, Site

LARGEST = 11
_LEAST_VARIANCE = 1e-8


@dataclass(frozen=True)
class _Kernel:
    """A depthwise kernel and where it lies: ``begin`` taps before the pixel of its output, rows and columns."""

    nodes: tuple[fx.Node, ...]
    conv: nn.Conv2d
    begin: tuple[int, int]

    @property
    def reach(self) -> int:
        """How many taps the farther of its ends is away from its output's pixel."""
        return max(max(b, k - 1 - b) for b, k in zip(self.begin, _taps(self.conv), strict=True))

    @property
    def stride(self) -> int:
        """Pixels from one output to the next."""
        return pair(self.conv.stride)[0]

    def square(self, reach: int) -> Tensor:
        """Return it with zeros around, C×k×k with k = 2·``reach`` + 1, its output's pixel in the middle."""
        rows, columns = (
            slice(reach - begin, reach - begin + taps, apart)
            for begin, taps, apart in zip(self.begin, _taps(self.conv), pair(self.conv.dilation), strict=True)
        )
        placed = torch.zeros(self.conv.in_channels, 2 * reach + 1, 2 * reach + 1)
        placed[:, rows, columns] = self.conv.weight.detach()[:, 0]
        return placed


def match_depthwise(site: Site, branches: int) -> Match | Miss:
    """Match a depthwise kernel over 3×3 that keeps its map's size, or halves it at stride 2."""
    kernel = _read(site)
    if isinstance(kernel, Miss):
        return kernel
    channels = kernel.conv.in_channels
    if channels * branches > MAX_CHANNELS:
        return Miss(f"{channels * branches:,} channels, over {MAX_CHANNELS:,}")
    return Match(kernel.nodes, describe(kernel.conv))


def build_depthwise(site: Site, branches: int) -> Built:
    """Return the stack for a layer that `match_depthwise` matched."""
    kernel = _read(site)
    assert isinstance(kernel, _Kernel)
    channels, single = kernel.conv.in_channels, branches == 1
    wide = channels * branches
    chain = nn.Sequential()
    if not single:
        repeat = blank_pointwise(channels, wide)
        repeat.bias = None  # behind the zero padding it would be missing
        chain.add_module("repeat", repeat)
    layers = _layers(kernel, single=single)
    for index in range(1, layers + 1):
        chain.add_module(f"part{index}", blank_conv(wide, wide, bias=single and index == layers, groups=wide))
        if index == 1 and single and kernel.stride == 2:
            sample = copying(wide, 2)
            nn.init.zeros_(sample.weight)
            chain.add_module("sample", sample)
    if not single:
        total = blank_pointwise(wide, channels)
        total.stride = (kernel.stride, kernel.stride)
        chain.add_module("sum", total)
    return Built(chain)


def initialise_depthwise(
    site: Site, chain: nn.Sequential, inputs: Tensor, outputs: Tensor, branches: int, seed: int
) -> None:
    """Set the weights of `build_depthwise`'s chain from the kernel and the layer's inputs and outputs."""
    kernel = _read(site)
    assert isinstance(kernel, _Kernel)
    layers = dict(chain.named_children())
    same = torch.eye(kernel.conv.in_channels)
    with torch.no_grad():
        for name in layers.keys() & {"repeat", "sample", "sum"}:
            copies = same if name == "sample" else same.repeat_interleave(branches, 0 if name == "repeat" else 1)
            _weight(layers[name]).copy_(copies[..., None, None])
        _set_parts(kernel, layers, inputs, outputs, branches, seed)
        last = list(chain)[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        last.bias.copy_((outputs - chain(inputs)).mean((0, 2, 3)))


def _set_parts(
    kernel: _Kernel, layers: dict[str, nn.Module], inputs: Tensor, outputs: Tensor, branches: int, seed: int
) -> None:
    """Split one 3×3 after another off what is left of the kernel; solve the last for the outputs."""
    halved = "sample" in layers
    count = sum(name.startswith("part") for name in layers)
    rest = kernel.square(1 + 2 * (count - 1) if halved else count)
    values = layers["repeat"](inputs) if "repeat" in layers else inputs
    for index in range(1, count):
        first, rest = factorise_channels(
            rest,
            correlations(inputs if index == 1 else values, rest.shape[-1]),
            branches if index == 1 else 1,
            seed + index,
            stride=2 if index == 1 and halved else 1,
        )
        part = layers[f"part{index}"]
        _weight(part).copy_(first.reshape(-1, 1, 3, 3))
        values = part(values)
        # Unit variance inside suits regression, and the range that all channels of a map share.
        scale = values.var((0, 2, 3)).clamp_min(_LEAST_VARIANCE).rsqrt()
        _weight(part).mul_(scale.view(-1, 1, 1, 1))
        values = values * scale.view(1, -1, 1, 1)
        rest = rest.flatten(0, 1) / scale.view(-1, 1, 1)
        if index == 1 and halved:
            values = layers["sample"](values)
    stride = 1 if halved else kernel.stride
    _weight(layers[f"part{count}"]).copy_(solve_last(values, outputs, branches, stride))


def _layers(kernel: _Kernel, *, single: bool) -> int:
    """How many 3×3 reach as far; behind a halving each reaches twice as far."""
    if single and kernel.stride == 2:
        return max(2, 1 + -(-(kernel.reach - 1) // 2))
    return max(2, kernel.reach)


def _read(site: Site) -> _Kernel | Miss:
    """What a layer is, or why it is no large depthwise kernel that a stack can take the place of."""
    conv, before = site.module(), site.before()
    assert isinstance(conv, nn.Conv2d)
    assert before is not None
    if conv.groups == 1 or not conv.groups == conv.in_channels == conv.out_channels:
        return Miss("not depthwise")
    taps = _taps(conv)
    if max(taps) <= 3:
        return Miss("not larger than 3×3")
    if max(taps) > LARGEST:
        return Miss(f"{taps[0]}×{taps[1]} is larger than {LARGEST}×{LARGEST}")
    if pair(conv.stride) not in ((1, 1), (2, 2)):
        return Miss("stride is neither 1 nor 2")
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return Miss("padded in another way than by a number of zeros")
    begin = end = pair(conv.padding)
    pad = site.module(before)
    nodes: tuple[fx.Node, ...] = (site.node,)
    if type(pad) is nn.ZeroPad2d and len(before.users) == 1:
        left, right, top, bottom = (int(side) for side in pad.padding)
        begin, end = (begin[0] + top, begin[1] + left), (end[0] + bottom, end[1] + right)
        nodes = (before, site.node)
    stride = pair(conv.stride)[0]
    surplus = [b + e - k for b, e, k in zip(begin, end, taps, strict=True)]
    if any(each not in ((-1,) if stride == 1 else (-1, -2)) for each in surplus) or min(begin) < 0:
        return Miss("padded so that its map changes size otherwise than by its stride")
    if stride == 2:
        shape = value_shape(site, nodes[0].all_input_nodes[0])
        if shape is None:
            return Miss("the size of its input is not known here")
        if any(side % 2 or side < 2 * MIN_SIDE for side in shape[1:]):
            return Miss(f"the KPU does not halve {shape[1]}×{shape[2]} pixels, but even sizes from {2 * MIN_SIDE} on")
    return _Kernel(nodes, conv, begin)


def _taps(conv: nn.Conv2d) -> tuple[int, int]:
    """Height and width of a kernel, the gaps of a dilated one filled."""
    rows, columns = ((k - 1) * d + 1 for k, d in zip(pair(conv.kernel_size), pair(conv.dilation), strict=True))
    return rows, columns


def _weight(layer: nn.Module) -> Tensor:
    assert isinstance(layer, nn.Conv2d)
    return layer.weight
