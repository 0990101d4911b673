"""TensorFlow's padding of a stride of 2."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import has_kpu_kernel, pads
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="memory",
    limit="padding 1, 1, 1, 1",
    replacement=(
        "the image turned by 180° and the kernels with it, which makes the padding the KPU's; or learned "
        "(`kpufit replace`)"
    ),
    source="nncase v1.9.0, fake_kpu_conv2d.cpp:36-129; measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """TensorFlow's SAME pads only below and to the right at stride 2, the KPU on all sides: nncase 1.9 pads and crops
    in float on the CPU, before and after.
    """
    layer = site.layer
    if layer.strides != (2, 2) or site.predicted.unit != "kpu" or not has_kpu_kernel(site):
        return None
    return "padding 0, 0, 1, 1 at stride 2" if pads(site) == (0, 0, 1, 1) else None
