"""Networks that each rule must be able to mend: a rule without an entry here fails the conformance suite."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import samples_forms
import samples_kernels
import samples_pools
import samples_strides
import samples_structure
import samples_wide
from hypothesis import strategies as st
from sample_form import Sample, lifted, with_followers
from torch import fx, nn

from pipeline.network.contract import InputContract

__all__ = ["SAMPLES", "Sample", "lifted", "with_followers"]


@st.composite
def small_kernels(draw: st.DrawFn) -> Sample:
    """1×3, 3×1, 2×2 … with the paddings, strides and sizes at which a padded 3×3 can do the same."""
    kernel = draw(st.sampled_from([(1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2)]))
    stride = draw(st.sampled_from([1, 2]))
    before = [draw(st.integers(0, 1)) if taps == 2 else taps // 2 for taps in kernel]
    # Zeros after: as many as keep the number of outputs at most that of a padding of 1.
    after = [
        draw(st.integers(0, 1 - zeros)) if taps == 2 else taps // 2 for taps, zeros in zip(kernel, before, strict=True)
    ]
    depthwise = draw(st.booleans())
    channels = draw(st.integers(1, 4))
    conv = nn.Conv2d(
        channels,
        channels if depthwise else draw(st.integers(1, 5)),
        kernel,
        stride,
        groups=channels if depthwise else 1,
        bias=draw(st.booleans()),
    )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if before == after:
        conv.padding = tuple(before)
    else:
        layers["pad"] = nn.ZeroPad2d((before[1], after[1], before[0], after[0]))
    layers.update(with_followers(conv, nn.LeakyReLU(0.1), bn=draw(st.booleans())))
    image = (channels, draw(st.integers(5, 13)), draw(st.integers(5, 13)))
    return lifted(layers, image, seed=draw(st.integers(0, 99)))


@st.composite
def large_kernels_over_images(draw: st.DrawFn) -> Sample:
    """5×5 and 7×7 over at most four channels."""
    kernel, channels = draw(st.sampled_from([5, 7])), draw(st.integers(1, 4))
    conv = nn.Conv2d(
        channels,
        draw(st.integers(1, 6)),
        kernel,
        draw(st.sampled_from([1, 2])),
        kernel // 2,
        bias=draw(st.booleans()),
    )
    image = (channels, draw(st.integers(4, 14)), draw(st.integers(4, 14)))
    return lifted(with_followers(conv, nn.LeakyReLU(0.1)), image, seed=draw(st.integers(0, 99)))


@st.composite
def relus(draw: st.DrawFn) -> Sample:
    """Relu after a convolution, with a BatchNorm in between or not."""
    conv = nn.Conv2d(2, 3, 3, draw(st.sampled_from([1, 2])), 1)
    image = (2, draw(st.integers(4, 12)), draw(st.integers(4, 12)))
    return lifted(with_followers(conv, nn.ReLU(), bn=draw(st.booleans())), image, seed=draw(st.integers(0, 99)))


@st.composite
def coloured_images(draw: st.DrawFn) -> Sample:
    """A mean and std a channel; the border of a padded first convolution is not compared."""
    channels = draw(st.integers(2, 4))
    shares = st.floats(0.1, 0.9)
    mean = tuple(draw(shares) for _ in range(channels))
    std = tuple(draw(shares) for _ in range(channels - 1))
    contract = InputContract((channels, 9, 12), mean, (*std, std[0] / 2))
    kernel, padding = draw(st.sampled_from([(3, 1), (3, 0), (1, 0)]))
    groups = draw(st.sampled_from([1, channels]))
    conv = nn.Conv2d(channels, 2 * channels, kernel, 1, padding, groups=groups, bias=draw(st.booleans()))
    return lifted(
        with_followers(conv, nn.LeakyReLU(0.1)),
        contract.image,
        contract=contract,
        margin=padding,
        seed=draw(st.integers(0, 99)),
    )


@st.composite
def idle_layers(draw: st.DrawFn) -> Sample:
    """Dropout and Identity, in a network that did not come through ONNX (which drops them on its own)."""
    idle = draw(st.sampled_from([nn.Identity(), nn.Dropout(0.5), nn.Dropout2d(0.5)]))
    image = (1, draw(st.integers(4, 9)), 6)
    network = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3, 1, 1), idle=idle, act=nn.ReLU())).eval()
    return Sample(fx.symbolic_trace(network), InputContract(image, (0.3,), (0.25,)))


@st.composite
def large_kernels(draw: st.DrawFn) -> Sample:
    """Dense kernels over more channels than an image has: any size, also even and oblong, any stride and padding."""
    stride, channels = draw(st.sampled_from([1, 2, 4])), draw(st.integers(5, 8))
    kernel = (draw(st.integers(4, 11)), draw(st.integers(1, 11)))
    layers = with_followers(nn.Conv2d(1, channels, 3, 1, 1), nn.ReLU())
    sides = tuple(stride * draw(st.integers(max(4, 12 // stride), 16 // stride)) for _ in range(2))
    begins = tuple(draw(st.integers(0, taps // 2)) for taps in kernel)
    ends = tuple(draw(st.integers(0, (taps - 1) // 2)) for taps in kernel)
    if begins != ends:
        layers["pad"] = nn.ZeroPad2d((begins[1], ends[1], begins[0], ends[0]))
    padding = begins if begins == ends else 0
    layers["large"] = nn.Conv2d(channels, draw(st.integers(5, 9)), kernel, stride, padding, bias=draw(st.booleans()))
    if draw(st.booleans()):
        layers["after"] = nn.LeakyReLU(0.1)
    return lifted(layers, (1, *sides), seed=draw(st.integers(0, 99)))


SAMPLES: dict[str, Callable[[], st.SearchStrategy[Sample]]] = {
    "clip-after-conv": relus,
    "drop-identity": idle_layers,
    "large-kernel": large_kernels,
    "normalisation": coloured_images,
    "pad-kernel": small_kernels,
    "shift-kernel": large_kernels_over_images,
    **samples_forms.SAMPLES,
    **samples_kernels.SAMPLES,
    **samples_pools.SAMPLES,
    **samples_strides.SAMPLES,
    **samples_structure.SAMPLES,
    **samples_wide.SAMPLES,
}
