"""Activations that keep a stride from moving."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import before, has_kpu_kernel, is_depthwise, kernel, only_reader
from pipeline.kpu.rules.rule import Site, rule

_BLOCKING = frozenset({"Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "Relu", "Sigmoid", "Softplus", "Tanh"})


@rule(
    severity="memory",
    limit="no activation but Clip between a stride-2 depthwise convolution and its 1×1",
    replacement=(
        "the ReLU written as Clip(0) (`kpufit compile` does it), other activations as ReLU6 or ReLU (`kpufit replace`)"
    ),
    source="measured with nncase 1.9.0.20230322: MobileNetV1-0.5@224 needs 2,157,568 B of heap instead of 175,616",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 moves the stride of a depthwise convolution into the 1×1 behind it over a Clip, but not over a Relu,
    LeakyRelu or any other function: the CPU slices the full-size map.
    """
    layer = site.layer
    if layer.op not in _BLOCKING or (layer.op == "Relu" and not site.raw) or site.predicted.unit != "kpu":
        return None
    conv = before(site, "BatchNormalization", *_BLOCKING)
    if conv is None or conv.strides != (2, 2) or not is_depthwise(site, conv) or not has_kpu_kernel(site, conv):
        return None
    after = only_reader(site, layer, *_BLOCKING)
    if after is None or kernel(site, after) != (1, 1) or is_depthwise(site, after):
        return None
    return f"{layer.op} behind {conv.name}"
