"""Networks for the rules about kernels that reach far: depthwise ones over 3×3."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from hypothesis import strategies as st
from sample_form import Sample, lifted
from torch import Tensor, nn


def smooth(kernels: Tensor, seed: int) -> Tensor:
    """Kernels as training leaves them: neighbouring taps are alike."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(kernels.shape, generator=generator)
    for _ in range(2):
        made = nn.functional.avg_pool2d(made, 3, 1, 1)
    return made / made.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


@st.composite
def large_depthwise(draw: st.DrawFn) -> Sample:
    """Depthwise k×k, odd and even, padded on all sides alike or as TensorFlow does."""
    channels, stride = draw(st.integers(2, 5)), draw(st.sampled_from([1, 2]))
    form = draw(st.sampled_from(["odd", "same", "dilated"]))
    kernel = draw(st.sampled_from([5, 7, 9, 11] if form == "odd" else [4, 5, 6, 7]))
    large = nn.Conv2d(channels, channels, kernel, stride, groups=channels, bias=draw(st.booleans()))
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Conv2d(1, channels, 3, 1, 1), act=nn.ReLU())
    if form == "dilated":
        large = nn.Conv2d(channels, channels, 3, stride, 2, 2, groups=channels)
    elif form == "odd":
        large.padding = (kernel // 2, kernel // 2)
    else:
        begin = (kernel - stride) // 2
        layers["pad"] = nn.ZeroPad2d((begin, kernel - stride - begin) * 2)
    layers["large"] = large
    sides = [stride * draw(st.integers(5, 8)) for _ in range(2)]
    seed = draw(st.integers(0, 99))
    sample = lifted(layers, (1, sides[0], sides[1]), seed=seed)
    weight = sample.network.get_submodule("large").weight
    with torch.no_grad():
        weight.copy_(smooth(weight, seed))
    return sample


def dilated(few: bool) -> st.SearchStrategy[Sample]:
    """Dense dilated 3×3, over an image or behind a convolution."""

    @st.composite
    def drawn(draw: st.DrawFn) -> Sample:
        channels = draw(st.integers(1, 4) if few else st.integers(5, 8))
        stride = draw(st.sampled_from([1, 2]))
        dilation = draw(st.sampled_from([2, 3, 4] if few else [2, 3]))
        conv = nn.Conv2d(channels, draw(st.integers(1, 6)), 3, stride, dilation, dilation, bias=draw(st.booleans()))
        stem = [] if few else [("stem", nn.Conv2d(1, channels, 3, 1, 1)), ("act", nn.ReLU())]
        sides = [stride * draw(st.integers(4, 8)) for _ in range(2)]
        image = (channels if few else 1, sides[0], sides[1])
        return lifted(OrderedDict([*stem, ("dilated", conv)]), image, seed=draw(st.integers(0, 99)))

    return drawn()


@st.composite
def transposed(draw: st.DrawFn, *, depthwise: bool) -> Sample:
    """Transposed 4×4 and 5×5 that double their map's sides."""
    inputs = draw(st.integers(2, 6))
    outputs = draw(st.integers(2, 6))
    kernel = draw(st.sampled_from([4, 5]))
    groups = inputs if depthwise and draw(st.booleans()) else 1
    if groups > 1:
        outputs = inputs
    padding, more = (kernel - 1) // 2, kernel % 2
    up = nn.ConvTranspose2d(inputs, outputs, kernel, 2, padding, more, groups, bias=draw(st.booleans()))
    stem = nn.Conv2d(2, inputs, 3, 1, 1)
    seed = draw(st.integers(0, 99))
    image = (2, draw(st.integers(4, 9)), draw(st.integers(4, 9)))
    sample = lifted(OrderedDict(stem=stem, act=nn.ReLU(), up=up), image, seed=seed)
    if groups > 1:
        weight = sample.network.get_submodule("up").weight
        with torch.no_grad():
            weight.copy_(smooth(weight, seed))
    return sample


SAMPLES: dict[str, Callable[[], st.SearchStrategy[Sample]]] = {
    "dilated-copies": lambda: dilated(few=False),
    "dilated-shift": lambda: dilated(few=True),
    "dilated-stack": lambda: dilated(few=False),
    "large-depthwise": large_depthwise,
    "large-depthwise-mixed": large_depthwise,
    "transposed-copies": lambda: transposed(depthwise=False),
    "transposed-stack": lambda: transposed(depthwise=True),
}
