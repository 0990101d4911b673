"""Transposed convolutions that the KPU cannot do."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import before, times
from pipeline.kpu.rules.refusals import refused_as
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="does-not-compile",
    limit="3×3",
    replacement="a 3×3 transposed convolution with zeros, or a nearest Resize and a 3×3 (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322 (Emitter for Conv2DTranspose is not found)",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 runs a transposed convolution as a 3×3 convolution of a map with gaps, and no other kernel at all: 2×2
    and 4×4 do not compile.
    """
    if refused_as(site, "conv2d_transpose") is None:
        return None
    conv = site.layer if site.layer.op == "ConvTranspose" else before(site, "BatchNormalization", "Clip", "Relu")
    return times(*site.network.weights(conv)[2:]) if conv is not None and conv.op == "ConvTranspose" else site.layer.op
