"""Convolutions and products of more than 1024 input channels."""

from __future__ import annotations

from pipeline.kpu import limits
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="C ≤ 1024",
    replacement="factorised or split so that no layer reads more than 1024 channels (`kpufit replace`)",
    source="nncase v1.9.0, kpu_utils.h:21; measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """The KPU counts channels in 10 bits: a convolution or a fully connected layer with more inputs runs in float32 on
    the CPU.
    """
    layer = site.layer
    if site.predicted.unit != "cpu" or layer.op not in ("Conv", "Gemm", "MatMul") or len(layer.in_shape) < 2:
        return None
    channels = layer.in_shape[1] if layer.op == "Conv" else layer.in_shape[-1]
    return f"{channels} inputs" if channels > limits.MAX_CHANNELS else None
