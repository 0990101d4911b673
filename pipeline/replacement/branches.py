"""Branches that read one value and end in one sum or concat, as lists of steps: a linear map, then an activation.

What is linear and local is a convolution: BatchNorm (folded), an average pool, a strided slice, zero channels added
(the two halves of ResNet's option-A shortcut). Neighbours that make one convolution without cost become one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx, nn

from pipeline.network.modules import Slice
from pipeline.replacement.activations import ACTIVATIONS, copies_pixels
from pipeline.replacement.convolution import blank_conv, pair
from pipeline.replacement.maps import value_shape
from pipeline.replacement.rule import Miss, Site

Pads = tuple[int, int, int, int]
"""Zeros at the top, left, bottom and right."""

_IDLE = (nn.Identity, nn.Dropout, nn.Dropout2d)
_WALKED = (nn.Conv2d, nn.BatchNorm2d, nn.AvgPool2d, nn.ZeroPad2d, nn.ConstantPad3d, Slice, *ACTIVATIONS, *_IDLE)


@dataclass(frozen=True)
class Step:
    """One convolution of a branch.

    Attributes:
        parts: the layers that it is made of, in order.
        inputs: channels read.
        outputs: channels written.
        kernel: height and width.
        stride: along rows and columns.
        pads: zeros at the top, left, bottom and right.
        groups: of the kernel.
        activation: what follows, a clamp and a LeakyReLU as one; None for nothing.
        pool: the max-pool, layer by layer, for which the first part stands, a depthwise 3×3 to be fitted to it.
    """

    parts: tuple[nn.Module, ...]
    inputs: int = 0
    outputs: int = 0
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    groups: int = 1
    activation: nn.Module | None = None
    pool: tuple[nn.Module, ...] = ()

    @property
    def pointwise(self) -> bool:
        """Whether each output reads one pixel."""
        return self.kernel == (1, 1) and not any(self.pads)

    @property
    def by_channel(self) -> bool:
        """Whether each channel is made of the same channel alone."""
        return self.groups == self.inputs == self.outputs

    @property
    def weights(self) -> int:
        """Trained weights of its convolutions."""
        return sum(part.weight.numel() for part in self.parts if isinstance(part, nn.Conv2d))

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return the kernel, dense (O×I×h×w), and the bias, in float64."""
        parts, first = self.parts, self.parts[0] if self.parts else None
        if isinstance(first, nn.Conv2d):
            parts, weight, bias = parts[1:], dense_kernel(first), _bias(first)
        else:
            weight = torch.eye(self.inputs, dtype=torch.float64)[..., None, None]
            bias = torch.zeros(self.inputs, dtype=torch.float64)
        for part in parts:
            weight, bias = _apply(part, weight, bias)
        return weight, bias


@dataclass(frozen=True)
class Branches:
    """What lies between one value and the layer that puts the branches together.

    Attributes:
        origin: the node that all branches read.
        channels: of it.
        steps: of each branch, in the order of the joining layer's inputs; none for the value itself.
        nodes: all of the branches' nodes, in the graph's order.
    """

    origin: fx.Node
    channels: int
    steps: tuple[tuple[Step, ...], ...]
    nodes: tuple[fx.Node, ...]


def read_branches(site: Site, ends: Sequence[object], *, joined: bool = False, pools: bool = False) -> Branches | Miss:
    """Return the branches that end in ``ends`` (the arguments of the site's layer), or why they are not such.

    Args:
        site: the layer that puts the branches together.
        ends: what it reads.
        joined: whether any convolution and the 1×1 behind it become one step where no activation stands between, also
            if that has more weights (a depthwise 3×3 and a 1×1 become a dense 3×3).
        pools: whether a branch may begin with a 3×3 max-pool of stride 1, for which a convolution then stands.
    """
    if not all(isinstance(end, fx.Node) for end in ends):
        return Miss("one operand is a number")
    walks = [_walk(site, end, pools) for end in ends if isinstance(end, fx.Node)]
    for _, stop in walks:
        if stop.op == "get_attr":
            return Miss("one operand is a constant")
    origins = {stop for _, stop in walks}
    if len(origins) > 1:
        return Miss(_different(site, [stop for _, stop in walks]))
    origin = origins.pop()
    found = []
    for whole, _ in walks:
        pooled, walk = _split_behind_pool(site, whole)
        window = _window(site, pooled) if pooled else None
        if isinstance(window, Miss):
            return window
        steps = _steps(site, walk, [] if window is None else [window], joined)
        if isinstance(steps, Miss):
            return steps
        found.append(steps)
    channels = next((read for read in map(_channels_read, found) if read is not None), None)
    if channels is None:
        return Miss("no branch has a convolution")
    order = {node: index for index, node in enumerate(site.network.graph.nodes)}
    nodes = sorted((node for walk, _ in walks for node in walk), key=order.__getitem__)
    return Branches(origin, channels, tuple(_sized(steps, channels) for steps in found), tuple(nodes))


def _walk(site: Site, end: fx.Node, pools: bool) -> tuple[list[fx.Node], fx.Node]:
    """The layers back from ``end`` that only the next one reads, in order, and the node where that ends."""
    walk: list[fx.Node] = []
    node = end
    kinds = (*_WALKED, nn.MaxPool2d, nn.ConstantPad2d) if pools else _WALKED
    while node.op == "call_module" and len(node.users) == 1 and isinstance(site.module(node), kinds):
        before = site.before(node)
        if before is None:
            break
        walk.insert(0, node)
        node = before
    return walk, node


def _different(site: Site, stops: Sequence[fx.Node]) -> str:
    """Why branches that stop at different nodes are not branches of one value."""
    for stop in stops:
        module = site.module(stop)
        if module is not None and len(stop.users) == 1:
            return f"{stop.target} ({type(module).__name__}) is no convolution, nor can one compute it"
    return "its operands are not made from one value by layers that nothing else reads"


def _steps(site: Site, walk: Sequence[fx.Node], steps: list[Step], joined: bool) -> tuple[Step, ...] | Miss:
    """The layers of ``walk`` as steps behind ``steps``."""
    pads = (0, 0, 0, 0)
    for node in walk:
        module = site.module(node)
        if isinstance(module, _IDLE):
            continue
        if isinstance(module, ACTIVATIONS):
            before = steps[-1].activation if steps else None
            if isinstance(before, nn.Hardtanh) and isinstance(module, nn.LeakyReLU):  # of one table
                module = nn.Sequential(before, module)
            elif not steps or before is not None:
                steps.append(Step(()))
            steps[-1] = replace(steps[-1], activation=module)
            continue
        if isinstance(module, nn.ZeroPad2d):
            left, right, top, bottom = (int(side) for side in module.padding)
            pads = _sum(pads, (top, left, bottom, right))
            if min(pads) < 0:
                return Miss(f"{node.target} crops the map")
            continue
        step = _step(site, node)
        if isinstance(step, Miss):
            return step
        if any(pads):
            step = replace(step, pads=_sum(step.pads, pads))
            if not isinstance(module, (nn.Conv2d, nn.AvgPool2d)):
                return Miss(f"zeros are added before {node.target}, which is neither a convolution nor a pool")
            pads = (0, 0, 0, 0)
        if steps and (_costless(steps[-1], step) or (joined and _composable(steps[-1], step))):
            steps[-1] = _joined(steps[-1], step)
        else:
            steps.append(step)
    return Miss("zeros are added around a branch's output") if any(pads) else tuple(steps)


def _split_behind_pool(site: Site, walk: list[fx.Node]) -> tuple[list[fx.Node], list[fx.Node]]:
    """The layers up to the last max-pool, and those behind it."""
    end = max((at for at, node in enumerate(walk, 1) if isinstance(site.module(node), nn.MaxPool2d)), default=0)
    return walk[:end], walk[end:]


def _window(site: Site, walk: Sequence[fx.Node]) -> Step | Miss:
    """The max-pool at the start of a branch, whole or as the KPU's 2×2 pools, as one step of padding 1."""
    modules = [module for module in map(site.module, walk) if module is not None]
    reach = 1
    for node, module in zip(walk, modules, strict=True):
        if isinstance(module, nn.MaxPool2d):
            reach += pair(module.kernel_size)[0] - 1
            if pair(module.stride) != (1, 1) or len({*pair(module.kernel_size)}) > 1:
                return Miss(f"{node.target} is a max-pool of another stride than 1, or no square one")
        elif not (isinstance(module, nn.ConstantPad2d) or (isinstance(module, nn.Conv2d) and copies_pixels(module))):
            return Miss(f"{node.target} is before a max-pool, which no convolution can stand for together with it")
    shapes = [value_shape(site, node) for node in (walk[0].all_input_nodes[0], walk[-1])]
    if shapes[0] is None or shapes[0] != shapes[1] or reach != 3:
        return Miss(f"{walk[-1].target} is a max-pool of {reach}×{reach}, for which no 3×3 that keeps the size stands")
    channels = shapes[0][0]
    stand_in = blank_conv(channels, channels, bias=True, groups=channels)
    return Step((stand_in,), kernel=(3, 3), pads=(1, 1, 1, 1), pool=tuple(modules))


def _sum(one: Pads, other: Pads) -> Pads:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


def _step(site: Site, node: fx.Node) -> Step | Miss:
    """One linear layer as a step."""
    module = site.module(node)
    if isinstance(module, nn.BatchNorm2d):
        if module.running_mean is None:
            return Miss(f"{node.target} has no running statistics")
        return Step((module,))
    if isinstance(module, nn.Conv2d):
        return _convolution(node, module)
    if isinstance(module, nn.AvgPool2d):
        return _pool(site, node, module)
    if isinstance(module, nn.ConstantPad3d):
        sides = tuple(int(side) for side in module.padding)
        if any(sides[:4]) or module.value != 0 or min(sides) < 0:
            return Miss(f"{node.target} adds more than channels of zeros")
        return Step((module,))
    assert isinstance(module, Slice)
    strides = [1, 1]
    for dim, start, end, step in module.ranges:
        if dim not in (2, 3) or start != 0 or end is not None:
            return Miss(f"{node.target} is not a strided sample of every channel")
        strides[dim - 2] = step
    return Step((module,), stride=(strides[0], strides[1]))


def _convolution(node: fx.Node, conv: nn.Conv2d) -> Step | Miss:
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return Miss(f"{node.target} is not padded by a number of zeros")
    if pair(conv.dilation) != (1, 1):
        return Miss(f"{node.target} is dilated")
    rows, columns = pair(conv.padding)
    pads = (rows, columns, rows, columns)
    return Step((conv,), kernel=pair(conv.kernel_size), stride=pair(conv.stride), pads=pads)


def _pool(site: Site, node: fx.Node, pool: nn.AvgPool2d) -> Step | Miss:
    rows, columns = pair(pool.padding)
    if (rows or columns) and not pool.count_include_pad:
        return Miss(f"{node.target} does not count its padding in the mean, a convolution does")
    kernel, stride = pair(pool.kernel_size), pair(pool.stride)
    if pool.ceil_mode:
        size = site.size(node.all_input_nodes[0])
        lengths = (size or (0, 0))[0] + 2 * rows - kernel[0], (size or (0, 0))[1] + 2 * columns - kernel[1]
        if size is None or lengths[0] % stride[0] or lengths[1] % stride[1]:
            return Miss(f"{node.target} has windows that reach over the edge (ceil_mode)")
    return Step((pool,), kernel=kernel, stride=stride, pads=(rows, columns, rows, columns))


def _composable(before: Step, step: Step) -> bool:
    """Whether two steps are one convolution."""
    return before.activation is None and step.pointwise


def _costless(before: Step, step: Step) -> bool:
    """Whether two steps without an activation between are one convolution that is no larger than they."""
    if not _composable(before, step):
        return False
    return before.pointwise or not isinstance(step.parts[0], nn.Conv2d)


def _joined(before: Step, step: Step) -> Step:
    stride = (before.stride[0] * step.stride[0], before.stride[1] * step.stride[1])
    return replace(before, parts=(*before.parts, *step.parts), stride=stride)


def _added(part: nn.Module) -> int:
    """How many channels of zeros a layer adds."""
    return int(part.padding[4]) + int(part.padding[5]) if isinstance(part, nn.ConstantPad3d) else 0


def _channels_read(steps: Sequence[Step]) -> int | None:
    """The channels that a branch reads, where one of its layers says so."""
    added = 0
    for part in (part for step in steps for part in step.parts):
        if isinstance(part, nn.Conv2d):
            return part.in_channels - added
        if isinstance(part, nn.BatchNorm2d):
            return part.num_features - added
        added += _added(part)
    return None


def _sized(steps: Sequence[Step], channels: int) -> tuple[Step, ...]:
    """The steps with their channels and groups, the branch reading ``channels``."""
    sized = []
    for step in steps:
        inputs, groups = channels, channels
        for part in step.parts:
            if isinstance(part, nn.Conv2d):
                groups = part.groups if part.groups > 1 and groups == channels else 1
                channels = part.out_channels
            elif _added(part):
                groups, channels = 1, channels + _added(part)
        sized.append(replace(step, inputs=inputs, outputs=channels, groups=groups))
    return tuple(sized)


def _apply(part: nn.Module, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Compose one linear layer with the kernel (O×I×h×w) and bias before it; one of the two is pointwise."""
    if isinstance(part, nn.BatchNorm2d):
        scale, shift = batch_norm(part)
        return weight * scale[:, None, None, None], bias * scale + shift
    if isinstance(part, nn.Conv2d):
        kernel = dense_kernel(part)
        taps = tuple(max(a, b) for a, b in zip(kernel.shape[2:], weight.shape[2:], strict=True))
        composed = torch.einsum("ojhw,jiyx->oihwyx", kernel, weight).reshape(len(kernel), -1, *taps)
        return composed, _bias(part) + kernel.sum((2, 3)) @ bias
    if isinstance(part, nn.AvgPool2d):
        height, width = pair(part.kernel_size)
        return weight.expand(-1, -1, height, width) / (height * width), bias
    if isinstance(part, nn.ConstantPad3d):
        front, back = int(part.padding[4]), int(part.padding[5])
        return nn.functional.pad(weight, (0, 0, 0, 0, 0, 0, front, back)), nn.functional.pad(bias, (front, back))
    assert isinstance(part, Slice)  # its stride is the step's
    return weight, bias


def _bias(conv: nn.Conv2d) -> Tensor:
    if conv.bias is None:
        return torch.zeros(conv.out_channels, dtype=torch.float64)
    return conv.bias.detach().double()


def batch_norm(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a BatchNorm in evaluation mode, in float64."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = 1.0 / torch.sqrt(norm.running_var.double() + norm.eps)
    shift = -norm.running_mean.double() * scale
    if norm.affine:
        gamma = norm.weight.detach().double()
        scale, shift = scale * gamma, shift * gamma + norm.bias.detach().double()
    return scale, shift


def dense_kernel(conv: nn.Conv2d) -> Tensor:
    """Return the kernel of a grouped convolution as a dense one has it (O×I×h×w, float64), zeros between groups."""
    weight = conv.weight.detach().double()
    if conv.groups == 1:
        return weight
    dense = torch.zeros(conv.out_channels, conv.in_channels, *weight.shape[2:], dtype=torch.float64)
    outputs, inputs = conv.out_channels // conv.groups, conv.in_channels // conv.groups
    for group in range(conv.groups):
        rows, columns = slice(group * outputs, (group + 1) * outputs), slice(group * inputs, (group + 1) * inputs)
        dense[rows, columns] = weight[rows]
    return dense
