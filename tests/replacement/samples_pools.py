"""Networks for the rules about pools and activations."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
from hypothesis import strategies as st
from sample_form import Sample, lifted
from torch import nn

from pipeline.network.modules import Add

SIDE = st.integers(6, 13)


def behind(draw: st.DrawFn, channels: int, source: str, pool: nn.Module, sides: tuple[int, int]) -> Sample:
    """A pool behind some layers, a convolution after it."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Conv2d(2, channels, 3, 1, 1))
    if "bn" in source:
        layers["bn"] = nn.BatchNorm2d(channels)
    if "relu" in source:
        layers["act"] = nn.ReLU()
    if "depthwise" in source:
        layers["depthwise"] = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels)
        layers["act2"] = nn.Hardtanh(0.0, math.inf)
    if "strided" in source:
        layers["strided"] = nn.Conv2d(channels, channels, 3, 2, 1)
        sides = (2 * sides[0], 2 * sides[1])
        layers["act2"] = nn.ReLU6()
    layers["pool"] = pool
    layers["last"] = nn.Conv2d(channels, 2, 1)
    return lifted(layers, (2, *sides), seed=draw(st.integers(0, 99)))


@st.composite
def max_pools(draw: st.DrawFn) -> Sample:
    """3×3 of both strides and 5×5, 7×7 of stride 1, padded, not padded, rounded up, padded as TensorFlow does."""
    form = draw(st.sampled_from(["keep", "larger", "halve", "valid", "ceil", "same"]))
    sides = (draw(SIDE), draw(SIDE))
    even, odd = (tuple(2 * (side // 2) + more for side in sides) for more in (0, 1))
    pool: nn.Module
    if form == "keep":
        pool = nn.MaxPool2d(3, 1, 1)
    elif form == "larger":
        size = draw(st.sampled_from([5, 7]))
        pool = nn.MaxPool2d(size, 1, size // 2)
    elif form == "halve":
        pool, sides = nn.MaxPool2d(3, 2, 1), even
    elif form == "valid":
        pool, sides = nn.MaxPool2d(3, 2), odd
    elif form == "ceil":
        pool, sides = nn.MaxPool2d(3, 2, ceil_mode=True), even
    else:
        pool, sides = nn.Sequential(nn.ConstantPad2d((0, 1, 0, 1), -math.inf), nn.MaxPool2d(3, 2)), even
    sources = ["relu", "bn relu", "relu depthwise", "relu strided"]
    if form in ("valid", "ceil", "same"):
        sources += ["nothing", "bn"]
    return behind(draw, draw(st.integers(1, 4)), draw(st.sampled_from(sources)), pool, sides)


@st.composite
def unfed_pools(draw: st.DrawFn) -> Sample:
    """Pools that the KPU has, behind what it does not pool."""
    pool = draw(
        st.sampled_from(
            [
                nn.MaxPool2d(2, 2),
                nn.AvgPool2d(2, 2),
                nn.MaxPool2d(4, 4),
                nn.AvgPool2d(4, 4),
                nn.Sequential(nn.ConstantPad2d((0, 1, 0, 1), -math.inf), nn.MaxPool2d(2, 1)),
            ]
        )
    )
    source = draw(st.sampled_from(["depthwise", "relu strided"]))
    return behind(draw, draw(st.integers(2, 4)), source, pool, (draw(st.integers(8, 13)), draw(st.integers(8, 13))))


@st.composite
def average_pools(draw: st.DrawFn) -> Sample:
    """3×3 with padding 1; where pads are not counted, the border is not compared."""
    counted = draw(st.booleans())
    pool = nn.AvgPool2d(3, draw(st.sampled_from([1, 2])), 1, count_include_pad=counted)
    sample = behind(
        draw, draw(st.integers(1, 4)), draw(st.sampled_from(["bn", "relu"])), pool, (draw(SIDE), draw(SIDE))
    )
    return Sample(sample.network, sample.contract, 0 if counted else 1)


@st.composite
def norms(draw: st.DrawFn) -> Sample:
    """LocalResponseNorm as in AlexNet (behind an activation, a pool behind it) and in Inception v1 (behind a pool)."""
    channels = draw(st.integers(3, 6))
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Conv2d(2, channels, 3, 1, 1))
    form = draw(st.sampled_from(["conv", "pool"]))
    if draw(st.booleans()):
        layers["bn"] = nn.BatchNorm2d(channels)
    layers["act"] = draw(st.sampled_from([nn.ReLU(), nn.LeakyReLU(0.1), nn.ReLU6()]))
    if form == "pool":
        layers["pool"] = nn.MaxPool2d(2, 2)
    layers["norm"] = nn.LocalResponseNorm(draw(st.sampled_from([3, 5])), draw(st.sampled_from([1e-4, 0.05])))
    if draw(st.booleans()):
        layers["pool2"] = nn.MaxPool2d(2, 2)
    layers["last"] = nn.Conv2d(channels, 2, 1)
    return lifted(layers, (2, draw(st.integers(8, 13)), draw(st.integers(8, 13))), seed=draw(st.integers(0, 99)))


def bent(draw: st.DrawFn, activation: nn.Module, channels: int, forms: tuple[str, ...]) -> Sample:
    """A curved activation behind a convolution, with BatchNorm or not, or behind a pool."""
    form = draw(st.sampled_from(forms))
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Conv2d(2, channels, 3, 1, 1))
    if "norm" in form:
        layers["bn"] = nn.BatchNorm2d(channels)
    if "pool" in form:
        layers["pool"] = nn.AvgPool2d(2, 2)
    layers["curved"] = activation
    layers["last"] = nn.Conv2d(channels, 2, 1)
    return lifted(layers, (2, draw(st.integers(8, 13)), draw(st.integers(8, 13))), seed=draw(st.integers(0, 99)))


@st.composite
def curved(draw: st.DrawFn) -> Sample:
    """Every activation that is not monotonic, behind a convolution or a pool."""
    return normal(draw, [nn.SiLU(), nn.Hardswish(), nn.Mish(), nn.GELU()], ("norm", "norm, pool"))


@st.composite
def dipping(draw: st.DrawFn) -> Sample:
    """Those of them that nncase compiles, behind a convolution."""
    return normal(draw, [nn.SiLU(), nn.Hardswish(), nn.Mish()], ("norm",))


class Bottleneck(nn.Module):
    """A 1×1, an activation and a 1×1 beside what they read, added."""

    def __init__(self, channels: int, activation: nn.Module) -> None:
        super().__init__()
        self.expand, self.bn, self.curved = nn.Conv2d(channels, 8, 1), nn.BatchNorm2d(8), activation
        self.project, self.add = nn.Conv2d(8, channels, 1), Add()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.add(x, self.project(self.curved(self.bn(self.expand(x)))))


@st.composite
def branched(draw: st.DrawFn) -> Sample:
    """One of them in a branch, on maps of about unit variance."""
    channels, activation = draw(st.integers(3, 6)), draw(st.sampled_from([nn.SiLU(), nn.Hardswish(), nn.Mish()]))
    layers = OrderedDict(
        stem=nn.Conv2d(2, channels, 3, 1, 1), block=Bottleneck(channels, activation), last=nn.Conv2d(channels, 2, 1)
    )
    image = (2, draw(st.integers(8, 13)), draw(st.integers(8, 13)))
    return centred(lifted(layers, image, seed=draw(st.integers(0, 99))), ("stem", "block_expand"), "block_bn")


def normal(draw: st.DrawFn, activations: list[nn.Module], forms: tuple[str, ...]) -> Sample:
    """One of ``activations`` on maps of about unit variance, as trained networks have them."""
    return centred(bent(draw, draw(st.sampled_from(activations)), draw(st.integers(3, 6)), forms), ("stem",), "bn")


def centred(sample: Sample, before: tuple[str, ...], norm_name: str) -> Sample:
    """Give a BatchNorm the mean and variance of what the layers before it give."""
    norm = sample.network.get_submodule(norm_name)
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        pixels = np.random.default_rng(0).integers(0, 256, (8, *sample.contract.image), np.uint8)
        given = torch.from_numpy(sample.contract.normalise(pixels))
        for name in before:
            given = sample.network.get_submodule(name)(given)
        norm.running_mean, norm.running_var = given.mean((0, 2, 3)), given.var((0, 2, 3))
        norm.weight.fill_(1.0)
        norm.bias.fill_(0.0)
    return sample


@st.composite
def slopes(draw: st.DrawFn, forms: tuple[str, ...] = ("conv", "norm", "pool")) -> Sample:
    """A slope a channel, as trained networks have them: about 0.25."""
    channels = draw(st.integers(3, 6))
    sample = bent(draw, nn.PReLU(channels), channels, forms)
    prelu = sample.network.get_submodule("curved")
    assert isinstance(prelu, nn.PReLU)
    with torch.no_grad():
        prelu.weight.mul_(0.1).add_(0.25)
    return sample


@st.composite
def smooth_pools(draw: st.DrawFn) -> Sample:
    """3×3 on maps whose neighbours are alike, as trained networks have them."""
    channels, stride = draw(st.integers(2, 4)), draw(st.sampled_from([1, 2]))
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        stem=nn.Conv2d(2, channels, 3, 1, 1),
        smooth=nn.AvgPool2d(5, 1, 2),
        pool=nn.MaxPool2d(3, stride, 1),
        last=nn.Conv2d(channels, 2, 1),
    )
    return lifted(layers, (2, draw(st.integers(8, 13)), draw(st.integers(8, 13))), seed=draw(st.integers(0, 99)))


@st.composite
def transposed(draw: st.DrawFn) -> Sample:
    """Transposed 2×2 of stride 2, dense, grouped and depthwise, and a grouped 3×3."""
    bias = draw(st.booleans())
    up = draw(
        st.sampled_from(
            [
                nn.ConvTranspose2d(draw(st.integers(1, 4)), draw(st.integers(1, 4)), 2, 2, bias=bias),
                nn.ConvTranspose2d(4, 6, 2, 2, groups=2, bias=bias),
                nn.ConvTranspose2d(4, 4, 2, 2, groups=4, bias=bias),
                nn.ConvTranspose2d(6, 3, 3, 2, 1, 1, groups=3, bias=bias),
            ]
        )
    )
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        stem=nn.Conv2d(2, up.in_channels, 3, 1, 1), act=nn.LeakyReLU(0.1), up=up
    )
    return lifted(layers, (2, draw(st.integers(4, 9)), draw(st.integers(4, 9))), seed=draw(st.integers(0, 99)))


SAMPLES: dict[str, Callable[[], st.SearchStrategy[Sample]]] = {
    "average-pool-conv": average_pools,
    "clamped-activation": branched,
    "curved-activation": curved,
    "local-response-linear": norms,
    "local-response-scale": norms,
    "max-pool-cascade": max_pools,
    "max-pool-depthwise": smooth_pools,
    "pinned-activation": dipping,
    "pool-behind-identity": unfed_pools,
    "prelu-mean": slopes,
    "prelu-split": lambda: slopes(forms=("conv", "norm")),
    "transposed-kernel": transposed,
}
