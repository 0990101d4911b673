"""Samples for the rules on strides that the KPU has not."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from hypothesis import strategies as st
from sample_form import Sample, lifted
from torch import nn


@st.composite
def uneven_strides(draw: st.DrawFn) -> Sample:
    """A 3×3 of stride 3 or of two strides in front of a global pool."""
    stride = draw(st.sampled_from([(3, 3), (2, 1), (1, 2), (4, 2), (1, 3)]))
    channels = draw(st.integers(2, 5))
    layers = OrderedDict(
        conv=nn.Conv2d(1, channels, 3, 1, 1),
        act=nn.ReLU(),
        strided=nn.Conv2d(channels, 4, 3, stride, draw(st.sampled_from([0, 1])), bias=draw(st.booleans())),
        act2=nn.ReLU(),
        last=nn.Conv2d(4, 6, 3, 1, 1),
        pool=nn.AdaptiveAvgPool2d(1),
    )
    return lifted(layers, (1, draw(st.integers(18, 24)), draw(st.integers(18, 24))), seed=draw(st.integers(0, 99)))


SAMPLES: dict[str, Callable[[], st.SearchStrategy[Sample]]] = {
    "stride-coarser": uneven_strides,
    "stride-finer": uneven_strides,
}
