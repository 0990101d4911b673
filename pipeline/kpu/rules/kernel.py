"""Kernels other than 1×1 and 3×3."""

from __future__ import annotations

from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="1×1 or 3×3",
    replacement="a 3×3 kernel with zeros where it is smaller, a stack of 3×3 where it is larger (`kpufit replace`)",
    source="nncase v1.9.0, modules/k210/include/nncase/transforms/k210/kpu_utils.h:36; measured with 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 runs every kernel but 1×1 and 3×3 as a float32 convolution on the CPU, and stores it in float32."""
    if site.layer.op != "Conv":
        return None
    kernel = site.network.weights(site.layer)[2:]
    if len(kernel) != 2 or kernel in ((1, 1), (3, 3)):
        return None
    return f"{kernel[0]}×{kernel[1]}"
