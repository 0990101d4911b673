"""Depthwise convolutions with a multiplier."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import has_kpu_kernel
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="wrong-numbers",
    limit="groups = C_in = C_out",
    replacement=(
        "each channel repeated by a 1×1, then a plain depthwise; or one dense convolution with zeros (`kpufit replace`)"
    ),
    source=(
        "nncase v1.9.0, fake_kpu_conv2d.cpp:60; measured with nncase 1.9.0.20230322: cosine 0.44, with "
        "multiplier 4 the compiler hangs"
    ),
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 takes a depthwise convolution with more (or fewer) outputs than inputs for a dense one and says
    nothing: the kmodel computes something else.
    """
    layer = site.layer
    if layer.op != "Conv" or layer.groups == 1 or len(layer.in_shape) != 4 or site.predicted.unit != "kpu":
        return None
    channels = layer.in_shape[1]
    if layer.groups != channels or layer.out_shape[1] == channels or not has_kpu_kernel(site):
        return None
    return f"{channels} groups, {layer.out_shape[1]} outputs"
