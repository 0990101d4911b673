"""Networks for the rules about structure: residual blocks, concats, gates, groups, shuffles."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from hypothesis import strategies as st
from sample_form import Sample, lifted
from torch import Tensor, nn

from pipeline.network.modules import Add, Concat, Mul, Reshape, Slice, Transpose

IMAGE = st.tuples(st.integers(1, 3), st.integers(4, 9), st.integers(4, 9))


class Parallel(nn.Module):
    """Branches of one value, joined by a sum or a concat."""

    def __init__(self, join: nn.Module, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        # A list of modules is unrolled by torch.fx.
        return self.join(*[branch(x) for branch in self.branches])


def conv(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    act: nn.Module | None = None,
    groups: int = 1,
    bn: bool = False,
) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=not bn)]
    if bn:
        layers.append(nn.BatchNorm2d(outputs))
    if act is not None:
        layers.append(act)
    return nn.Sequential(*layers)


def after_stem(block: nn.Module, channels: int, image: tuple[int, int, int], seed: int, act: nn.Module) -> Sample:
    """A block behind a convolution with an activation, an activation after it."""
    stem = conv(image[0], channels, 3, act=act)
    return lifted(OrderedDict(stem=stem, block=block, act=nn.ReLU()), image, seed=seed)


@st.composite
def residuals(draw: st.DrawFn) -> Sample:
    """Basic blocks with every shortcut, blocks with depthwise convolutions, sums of single layers."""
    channels, image, bn = draw(st.integers(2, 4)), draw(IMAGE), draw(st.booleans())
    act: nn.Module = draw(st.sampled_from([nn.ReLU(), nn.ReLU6(), nn.Hardtanh(0.0, math.inf)]))
    form = draw(st.sampled_from(["identity", "1x1", "option-a", "pooled", "depthwise", "parallel", "active", "same"]))
    stride = draw(st.sampled_from([1, 2])) if form in ("1x1", "same") else 2 if form in ("option-a", "pooled") else 1
    if form in ("pooled", "same"):  # sizes that a pool of 2×2 and TensorFlow's padding halve
        image = (image[0], 2 * (image[1] // 2), 2 * (image[2] // 2))
    outputs = channels if form in ("identity", "depthwise", "active") else channels + draw(st.integers(0, 2))
    first = conv(channels, outputs, 3, stride=stride, act=act, bn=bn)
    if form == "same" and stride == 2:
        first[0].padding = (0, 0)
        first = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), *first)
    body = nn.Sequential(first, conv(outputs, outputs, draw(st.sampled_from([1, 3])), bn=bn))
    shortcut: nn.Module = nn.Identity()
    if form in ("1x1", "same"):
        shortcut = conv(channels, outputs, 1, stride=stride, bn=bn)
    elif form == "option-a":
        sample = Slice(((2, 0, None, 2), (3, 0, None, 2)))
        shortcut = nn.Sequential(sample, nn.ConstantPad3d((0, 0, 0, 0, 0, outputs - channels), 0.0))
    elif form == "pooled":
        shortcut = nn.Sequential(nn.AvgPool2d(2, 2), conv(channels, outputs, 1, bn=bn))
    elif form == "depthwise":
        wide = 2 * channels
        body = nn.Sequential(
            conv(channels, wide, 1, act=act, bn=bn),
            conv(wide, wide, 3, act=act, groups=wide, bn=bn),
            conv(wide, channels, 1, bn=bn),
        )
    elif form == "parallel":
        body, shortcut = conv(channels, outputs, 3, bn=bn), conv(channels, outputs, 1, bn=bn)
    elif form == "active":
        body = conv(channels, channels, 3, act=act, bn=bn)
    branches = [body, shortcut] if draw(st.booleans()) else [shortcut, body]
    return after_stem(Parallel(Add(), *branches), channels, image, draw(st.integers(0, 99)), act)


@st.composite
def concats(draw: st.DrawFn) -> Sample:
    """Fire and Inception modules, strided ones, the value itself beside what is made of it."""
    channels, image, bn = draw(st.integers(2, 4)), draw(IMAGE), draw(st.booleans())
    act: nn.Module = draw(st.sampled_from([nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.1)]))
    stride, size = draw(st.sampled_from([1, 2])), st.integers(1, 4)

    def branch(kernels: list[int]) -> nn.Module:
        widths = [channels, *(draw(size) for _ in kernels)]
        return nn.Sequential(
            *(
                conv(a, b, kernel, stride=stride if last else 1, act=act, bn=bn)
                for a, b, kernel, last in zip(
                    widths[:-1], widths[1:], kernels, [False] * (len(kernels) - 1) + [True], strict=True
                )
            )
        )

    stem: nn.Module = act
    form = draw(st.sampled_from(["fire", "inception", "itself", "shuffle-unit"]))
    if isinstance(act, nn.LeakyReLU) and form != "fire":
        act = stem = nn.ReLU()  # a copy of what LeakyReLU gives can be negative
    if form == "fire":
        branches = [branch([draw(st.sampled_from([1, 3]))]) for _ in range(draw(st.integers(2, 3)))]
    elif form == "inception":
        branches = [branch([1]), branch([1, 3])]
        if stride == 1:
            branches += [branch([1, 3, 3]), nn.Sequential(nn.AvgPool2d(3, 1, 1), branch([1]))]
    elif form == "itself":
        stride = 1
        branches = [nn.Identity(), branch(draw(st.sampled_from([[3], [1, 3]])))]
    else:  # ShuffleNet's unit of stride 2, which has no activation of its own at the end
        image = (image[0], 2 * (image[1] // 2) + 1, 2 * (image[2] // 2) + 1)
        middle = conv(channels, channels, 3, stride=2, groups=channels, bn=bn)
        body = nn.Sequential(conv(channels, channels, 1, act=act, bn=bn), middle, conv(channels, 2, 1, bn=bn))
        branches = [nn.AvgPool2d(3, 2, 1), body]
    return after_stem(Parallel(Concat(1), *branches), channels, image, draw(st.integers(0, 99)), stem)


class Gated(nn.Module):
    """``x · gate(mean of x)``."""

    def __init__(self, channels: int, inner: int, act: nn.Module, sigmoid: nn.Module, *, dense: bool) -> None:
        super().__init__()
        self.pool, self.act, self.sigmoid, self.mul = nn.AdaptiveAvgPool2d(1), act, sigmoid, Mul()
        self.flatten, self.shape = (
            (nn.Flatten(), Reshape((channels, 1, 1))) if dense else (nn.Identity(), nn.Identity())
        )
        make = nn.Linear if dense else partial(nn.Conv2d, kernel_size=1)
        self.squeeze, self.excite = make(channels, inner), make(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.excite(self.act(self.squeeze(self.flatten(self.pool(x)))))
        return self.mul(x, self.shape(self.sigmoid(gate)))


@st.composite
def gates(draw: st.DrawFn) -> Sample:
    """Squeeze-and-excitation, as convolutions or fully connected layers, before a convolution or an activation."""
    channels, image = draw(st.integers(4, 8)), draw(IMAGE)
    block = Gated(
        channels,
        2,
        draw(st.sampled_from([nn.ReLU(), nn.Hardswish()])),
        draw(st.sampled_from([nn.Sigmoid(), nn.Hardsigmoid()])),
        dense=draw(st.booleans()),
    )
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=conv(image[0], channels, 3, act=nn.ReLU()), gated=block)
    if draw(st.booleans()):
        layers["after"] = conv(channels, 2 * channels, draw(st.sampled_from([1, 3])), act=nn.ReLU())
    return lifted(layers, image, seed=draw(st.integers(0, 99)))


@st.composite
def signed_residuals(draw: st.DrawFn) -> Sample:
    """MobileNetV2's block with an identity shortcut; the value that is added has no activation."""
    channels, image, bn = draw(st.integers(3, 6)), draw(IMAGE), draw(st.booleans())
    act: nn.Module = draw(st.sampled_from([nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.1)]))
    wide = draw(st.integers(2, 4)) * channels
    body = nn.Sequential(
        conv(channels, wide, 1, act=act, bn=bn),
        conv(wide, wide, 3, act=act, groups=wide, bn=bn),
        conv(wide, channels, 1, bn=bn),
    )
    layers = OrderedDict(stem=conv(image[0], channels, 3), block=Parallel(Add(), nn.Identity(), body))
    return lifted(layers, image, seed=draw(st.integers(0, 99)))


@st.composite
def signed_concats(draw: st.DrawFn) -> Sample:
    """DenseNet's layer behind a convolution without activation: the value itself beside what comes of it."""
    channels, image, inner = draw(st.integers(3, 6)), draw(IMAGE), draw(st.integers(4, 8))
    act: nn.Module = draw(st.sampled_from([nn.ReLU(), nn.ReLU6()]))
    made = nn.Sequential(
        nn.BatchNorm2d(channels),
        act,
        conv(channels, inner, 1, act=act, bn=True),
        conv(inner, draw(st.integers(2, 4)), 3),
    )
    branches = [nn.Identity(), made] if draw(st.booleans()) else [made, nn.Identity()]
    layers = OrderedDict(stem=conv(image[0], channels, 3), block=Parallel(Concat(1), *branches))
    return lifted(layers, image, seed=draw(st.integers(0, 99)))


@st.composite
def grouped(draw: st.DrawFn) -> Sample:
    """Grouped 1×1 and 3×3, strided, dilated, padded or not."""
    groups, kernel = draw(st.integers(2, 3)), draw(st.sampled_from([1, 3]))
    dilation = draw(st.sampled_from([1, 2])) if kernel == 3 else 1
    image = (2 * groups, draw(st.integers(5, 9)), draw(st.integers(5, 9)))
    layer = nn.Conv2d(
        image[0],
        draw(st.integers(1, 3)) * groups,
        kernel,
        draw(st.sampled_from([1, 2])),
        draw(st.integers(0, kernel // 2)),
        dilation,
        groups,
        bias=draw(st.booleans()),
    )
    layers = OrderedDict(conv=layer, bn=nn.BatchNorm2d(layer.out_channels), act=nn.LeakyReLU(0.1))
    return lifted(layers, image, seed=draw(st.integers(0, 99)))


@st.composite
def many_groups(draw: st.DrawFn) -> Sample:
    """Grouped 3×3 with too many groups to be made dense."""
    groups = draw(st.sampled_from([32, 48]))
    channels, image = groups * 3, (1, draw(st.integers(5, 7)), draw(st.integers(5, 7)))
    layer = nn.Conv2d(channels, channels, 3, draw(st.sampled_from([1, 2])), 1, groups=groups, bias=draw(st.booleans()))
    layers = OrderedDict(stem=conv(1, channels, 3, act=nn.ReLU()), grouped=layer)
    return lifted(layers, image, seed=draw(st.integers(0, 99)))


@st.composite
def shuffles(draw: st.DrawFn) -> Sample:
    """A channel shuffle after a convolution, before one, or alone."""
    groups, image = draw(st.integers(2, 3)), draw(IMAGE)
    channels = 2 * groups
    shuffle = nn.Sequential(
        Reshape((groups, 2, *image[1:])), Transpose((0, 2, 1, 3, 4)), Reshape((channels, *image[1:]))
    )
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=conv(image[0], channels, 3, act=nn.ReLU()))
    where = draw(st.sampled_from(["after", "before", "alone"]))
    if where == "after":
        act = draw(st.sampled_from([nn.ReLU(), nn.Hardswish(), None]))
        layers["grouped"] = conv(
            channels, channels, 1, groups=draw(st.sampled_from([1, groups])), act=act, bn=draw(st.booleans())
        )
    else:
        layers["pool"] = nn.MaxPool2d(3, 1, 1)
    layers["shuffle"] = shuffle
    layers["next"] = conv(channels, channels, 3, groups=channels if where == "alone" else 1, act=nn.ReLU())
    return lifted(layers, image, seed=draw(st.integers(0, 99)))


SAMPLES: dict[str, Callable[[], st.SearchStrategy[Sample]]] = {
    "concat-carry": signed_concats,
    "concat-merge": concats,
    "grouped-dense": grouped,
    "grouped-separable": many_groups,
    "residual-carry": signed_residuals,
    "residual-merge": residuals,
    "shuffle-fold": shuffles,
    "squeeze-linear": gates,
    "squeeze-removed": gates,
}
