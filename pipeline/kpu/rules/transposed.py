"""Transposed convolutions."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import works_on_cpu
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="memory",
    limit="none: a convolution with a stride of 1",
    replacement="a nearest Resize and a 3×3, or a wider convolution and depth-to-space (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """The CPU spreads the map in float (a Pad with gaps), the KPU convolves it at full size, and the CPU crops it
    again.
    """
    if site.layer.op != "ConvTranspose" or site.predicted.unit != "kpu" or not works_on_cpu(site, "pad", "copy"):
        return None
    return f"stride {site.layer.strides[0]}"
