"""Networks with layers too wide for the KPU: more weight loads than it counts, or more channels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from hypothesis import strategies as st
from sample_form import Sample, lifted
from torch import nn


@st.composite
def many_loads(draw: st.DrawFn) -> Sample:
    """3×3 over so many channels that the KPU holds three outputs of it at once, or fewer, and too many of these."""
    channels, outputs = draw(st.integers(860, 1024)), draw(st.integers(193, 200))
    large = nn.Conv2d(channels, outputs, 3, 1, 1, bias=draw(st.booleans()))
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        stem=nn.Conv2d(2, channels, 1), act=nn.ReLU(), large=large, norm=nn.BatchNorm2d(outputs), last=nn.ReLU()
    )
    return lifted(layers, (2, 4, 4), seed=draw(st.integers(0, 99)))


@st.composite
def wide_maps(draw: st.DrawFn) -> Sample:
    """Over 1024 channels between two convolutions, with layers between that each treat a channel by itself."""
    channels = draw(st.integers(1025, 1060))
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Conv2d(2, 6, 3, 1, 1), act=nn.ReLU())
    layers["first"] = nn.Conv2d(6, channels, 1, bias=draw(st.booleans()))
    if draw(st.booleans()):
        layers["norm"] = nn.BatchNorm2d(channels)
    layers["between"] = draw(st.sampled_from([nn.ReLU6(), nn.LeakyReLU(0.1), nn.ReLU()]))
    side = draw(st.sampled_from([4, 8]))
    if side == 8:
        layers["pool"] = nn.MaxPool2d(2, 2)
    if draw(st.booleans()):
        layers["depthwise"] = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False)
    layers["last"] = nn.Conv2d(
        channels, draw(st.integers(5, 9)), draw(st.sampled_from([1, 3])), bias=draw(st.booleans())
    )
    layers["last"].padding = (layers["last"].kernel_size[0] // 2,) * 2
    return lifted(layers, (2, side, side), seed=draw(st.integers(0, 99)))


@st.composite
def wide_products(draw: st.DrawFn) -> Sample:
    """Two fully connected layers, the first over a map of more than 1024 values, of sides that halve or do not."""
    height, width = draw(st.sampled_from([(4, 4), (5, 7), (8, 6), (8, 8), (8, 10)]))
    channels = 1024 // (height * width) + draw(st.integers(1, 4))
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Conv2d(2, channels, 1), act=nn.ReLU())
    layers["flatten"] = nn.Flatten()
    units = draw(st.integers(4, 9))
    layers["first"] = nn.Linear(channels * height * width, units, bias=draw(st.booleans()))
    layers["between"] = draw(st.sampled_from([nn.ReLU(), nn.LeakyReLU(0.1)]))
    layers["last"] = nn.Linear(units, 3)
    return lifted(layers, (2, height, width), seed=draw(st.integers(0, 99)))


SAMPLES: dict[str, Callable[[], st.SearchStrategy[Sample]]] = {
    "many-loads": many_loads,
    "many-loads-inputs": many_loads,
    "wide-map": wide_maps,
    "wide-product": wide_products,
}
