"""Networks for the rules about forms: constants a channel, multipliers, strides, paddings, pools' activations."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import torch
from hypothesis import strategies as st
from sample_form import Sample, lifted
from torch import Tensor, nn

from pipeline.network.modules import Add, Div, Mul, Sub

IMAGE = st.tuples(st.integers(1, 3), st.integers(5, 9), st.integers(5, 9))


class Constant(nn.Module):
    """One operator whose other operand is a constant, one number a channel or one for all."""

    value: Tensor

    def __init__(self, op: str, channels: int, seed: int) -> None:
        super().__init__()
        self.turned = op == "from"
        self.operator = {"mul": Mul, "add": Add, "sub": Sub, "from": Sub, "div": Div}[op]()
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("value", 0.5 + torch.rand(channels, 1, 1, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.operator(self.value, x) if self.turned else self.operator(x, self.value)
        return result


def run(draw: st.DrawFn, channels: int, *, first: tuple[str, ...]) -> nn.Sequential:
    """BatchNorm ("norm") and constants, beginning with one of ``first``."""
    kinds = ["norm", "mul", "add", "sub", "div", "from"]
    names = [draw(st.sampled_from(first)), *draw(st.lists(st.sampled_from(kinds), max_size=2))]
    made = [
        nn.BatchNorm2d(channels)
        if name == "norm"
        else Constant(name, draw(st.sampled_from([1, channels])), draw(st.integers(0, 9)))
        for name in names
    ]
    return nn.Sequential(*made)


@st.composite
def scaled(draw: st.DrawFn) -> Sample:
    """Caffe's Scale behind a convolution, a BatchNorm in between or not."""
    image, channels = draw(IMAGE), draw(st.integers(1, 4))
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=nn.Conv2d(image[0], channels, 3, 1, 1))
    if draw(st.booleans()):
        layers["norm"] = nn.BatchNorm2d(channels)
    layers["run"] = run(draw, channels, first=("mul", "add", "sub", "div", "from"))
    layers["act"] = nn.LeakyReLU(0.1)
    return lifted(layers, image, seed=draw(st.integers(0, 99)))


@st.composite
def affine_alone(draw: st.DrawFn) -> Sample:
    """BatchNorm and constants on the image, behind a pool or an activation, before convolutions of every padding."""
    image, where = draw(IMAGE), draw(st.sampled_from(["image", "pool", "activation"]))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = image[0]
    if where != "image":
        channels = draw(st.integers(2, 4))
        layers["stem"] = nn.Conv2d(image[0], channels, 3, 1, 1)
        layers["before"] = nn.AvgPool2d(2, 1) if where == "pool" else nn.LeakyReLU(0.1)
    first = ("norm", "mul", "add", "sub", "div")
    if where == "activation":  # one number for all channels would be part of the activation
        layers["norm"], first = nn.BatchNorm2d(channels), ("mul", "add", "sub", "div", "from")
    layers["run"] = run(draw, channels, first=first)
    behind = draw(st.sampled_from(["1x1", "valid", "padded", "depthwise", "activation", "activation, pool", "pad"]))
    if behind.startswith("activation"):
        layers["act"] = nn.Hardtanh(0.0, math.inf)
        if behind.endswith("pool"):
            layers["pool"] = nn.MaxPool2d(2, 2)
    elif behind == "1x1":
        layers["conv"] = nn.Conv2d(channels, 3, 1, bias=draw(st.booleans()))
    else:
        groups = channels if behind == "depthwise" else 1
        if behind == "pad":
            layers["pad"] = nn.ZeroPad2d((0, 1, 0, 1))
        padding = 0 if behind in ("valid", "pad") else 1
        layers["conv"] = nn.Conv2d(channels, channels * 2, 3, 1, padding, groups=groups, bias=draw(st.booleans()))
    return lifted(layers, image, seed=draw(st.integers(0, 99)))


ACTS = [nn.ReLU(), nn.ReLU6(), nn.Hardtanh(0.0, math.inf), nn.LeakyReLU(0.1), nn.Sigmoid(), nn.Tanh(), nn.ELU()]


@st.composite
def pooled_activations(draw: st.DrawFn) -> Sample:
    """conv → max-pool of any form → a growing activation."""
    image = draw(IMAGE)
    kernel = draw(st.integers(2, 4))
    pool = nn.MaxPool2d(kernel, draw(st.integers(1, kernel)), draw(st.integers(0, kernel // 2)))
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=nn.Conv2d(image[0], 3, 3, 1, 1))
    if draw(st.booleans()):
        layers["norm"] = nn.BatchNorm2d(3)
    if draw(st.booleans()):
        layers["first"] = draw(st.sampled_from(ACTS))
    layers["pool"], layers["act"] = pool, draw(st.sampled_from(ACTS))
    return lifted(layers, image, seed=draw(st.integers(0, 99)))


@st.composite
def lone_activations(draw: st.DrawFn) -> Sample:
    """Clips on the image and behind layers without a table; activations behind a pool; on large maps and small."""
    image = draw(st.tuples(st.integers(1, 3), st.integers(4, 18), st.integers(4, 18)))
    clip = draw(st.sampled_from([nn.Hardtanh(0.0, math.inf), nn.ReLU6(), nn.Hardtanh(-0.5, 0.5)]))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = draw(st.sampled_from(["image", "average", "max", "pad", "crop"]))
    act = clip
    if before != "image":
        layers["stem"] = nn.Conv2d(image[0], 4, 3, 1, 1)
        layers["first"] = nn.LeakyReLU(0.1)
    if before in ("average", "max"):
        kernel = 4 if min(image[1:]) >= 16 and draw(st.booleans()) else 2
        average = before == "average" or min(image[1:]) // kernel < 4
        act = draw(st.sampled_from([clip, nn.SiLU(), *ACTS])) if average else nn.SiLU()  # others go before a max-pool
        if min(image[1:]) // kernel < 4:
            act = nn.Hardtanh(0.0, math.inf)
        layers["pool"] = (nn.AvgPool2d if average else nn.MaxPool2d)(kernel, kernel)
    elif before == "pad":
        layers["pad"] = nn.ZeroPad2d((0, 1, 2, 0))
    elif before == "crop":
        layers["crop"] = nn.ZeroPad2d((0, 0, -1, 0))
        act = nn.Hardtanh(0.0, math.inf)
    layers["act"] = act
    layers["conv"] = nn.Conv2d(4 if before != "image" else image[0], 2, 1)
    return lifted(layers, image, seed=draw(st.integers(0, 99)))


@st.composite
def multiplied(draw: st.DrawFn) -> Sample:
    """Depthwise with two to four outputs a channel, of every kernel, stride and padding."""
    channels, kernel = draw(st.integers(2, 9)), draw(st.sampled_from([1, 3, 5, (1, 3)]))
    rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
    wide = nn.Conv2d(
        channels,
        channels * draw(st.integers(2, 4)),
        kernel,
        draw(st.sampled_from([1, 2])),
        (rows // 2, columns // 2) if draw(st.booleans()) else 0,
        groups=channels,
        bias=draw(st.booleans()),
    )
    image = draw(IMAGE)
    stem = nn.Conv2d(image[0], channels, 3, 1, 1)
    return lifted(
        OrderedDict(stem=stem, first=nn.ReLU6(), wide=wide, act=nn.ReLU()), image, seed=draw(st.integers(0, 9))
    )


@st.composite
def halved(draw: st.DrawFn) -> Sample:
    """Depthwise of stride 2 before a 1×1 (behind an activation that is no clamp), another layer, several, or none."""
    channels, kernel = draw(st.integers(2, 24)), draw(st.sampled_from([1, 3]))
    size = st.sampled_from([8, 10, 12])
    image = (draw(st.integers(1, 3)), draw(size), draw(size))
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Conv2d(image[0], channels, 3, 1, 1), first=nn.ReLU6())
    layers["depthwise"] = nn.Conv2d(channels, channels, kernel, 2, kernel // 2, groups=channels, bias=False)
    layers["norm"] = nn.BatchNorm2d(channels)
    behind = draw(st.sampled_from(["1x1", "1x1, stride 2", "3x3", "pool", "nothing"]))
    layers["act"] = nn.LeakyReLU(0.1) if behind == "1x1" or draw(st.booleans()) else nn.ReLU6()
    if behind.startswith("1x1"):
        layers["mix"] = nn.Conv2d(channels, 3, 1, 2 if behind.endswith("2") else 1)
    elif behind == "3x3":
        layers["conv"] = nn.Conv2d(channels, 3, 3, 1, 1)
    elif behind == "pool":
        layers["pool"] = nn.AvgPool2d(2, 2)
    return lifted(layers, image, seed=draw(st.integers(0, 9)))


@st.composite
def strides_padded_behind(draw: st.DrawFn) -> Sample:
    """3×3 of stride 2 without zeros before the rows, the columns or both; over an image and over more channels."""
    size = st.sampled_from([8, 10, 12])
    image = (draw(st.integers(1, 3)), draw(size), draw(size))
    over = draw(st.sampled_from(["image", "dense", "depthwise"]))
    top, left = draw(st.sampled_from([(0, 0), (0, 1), (1, 0)] if over == "depthwise" else [(0, 0), (0, 1)]))
    pads = (left, draw(st.integers(0, 1)), top, draw(st.integers(0, 1)))
    channels = image[0] if over == "image" else draw(st.integers(5, 24))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if over != "image":
        layers.update(stem=nn.Conv2d(image[0], channels, 3, 1, 1), first=nn.ReLU6())
    outputs = channels if over == "depthwise" else draw(st.sampled_from([3, 24]))
    groups = channels if over == "depthwise" else 1
    if any(pads):
        layers["pad"] = nn.ZeroPad2d(pads)
    layers["conv"] = nn.Conv2d(channels, outputs, 3, 2, groups=groups, bias=draw(st.booleans()))
    if draw(st.booleans()):
        layers["norm"] = nn.BatchNorm2d(outputs)
    layers["act"] = draw(st.sampled_from([nn.ReLU6(), nn.LeakyReLU(0.1), nn.Sigmoid()]))
    if draw(st.booleans()):
        layers["mix"] = nn.Conv2d(outputs, 3, 1)
    return lifted(layers, image, seed=draw(st.integers(0, 9)))


SAMPLES: dict[str, Callable[[], st.SearchStrategy[Sample]]] = {
    "activation-alone": lone_activations,
    "activation-before-pool": pooled_activations,
    "affine-alone": affine_alone,
    "affine-fold": scaled,
    "depth-multiplier": multiplied,
    "depthwise-stride": halved,
    "padded-stride": strides_padded_behind,
}
