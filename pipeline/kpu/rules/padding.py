"""Padding other than the KPU's own."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import has_kpu_kernel, pads, works_on_cpu
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="memory",
    limit="1 on each side of a 3×3, 0 around a 1×1",
    replacement="the KPU's padding, and the crop where it is cheapest (`kpufit replace`)",
    source="nncase v1.9.0, fake_kpu_conv2d.cpp:36-129; measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """The KPU pads by itself, and always the same: nncase 1.9 adds a float Pad on the CPU for more, and a crop for
    less.
    """
    if site.predicted.unit != "kpu" or not has_kpu_kernel(site) or site.layer.dilations != (1, 1):
        return None
    padding = pads(site)
    own = site.network.weights(site.layer)[2] // 2
    if padding == (own,) * 4 or (padding == (0, 0, 1, 1) and site.layer.strides == (2, 2)):
        return None  # the second is another rule's
    if not works_on_cpu(site, "pad", "slice", "copy", "quantize"):
        return None
    return f"padding {', '.join(map(str, padding))} (top, left, bottom, right)"
