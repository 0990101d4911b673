"""Sums of two maps."""

from __future__ import annotations

from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="memory",
    limit="no sum, or one whose 2C ≤ 1024 channels pass through main memory",
    replacement="reserve-and-merge: the block widened so that it carries its own input (`kpufit replace`)",
    source=(
        "nncase v1.9.0, src/transforms/neutral/add_to_conv2d.cpp; measured with nncase 1.9.0.20230322: heap "
        "166,912 B where the plain stack needs 19,456"
    ),
)
def RULE(site: Site) -> str | None:
    """The KPU cannot add: nncase 1.9 lays both maps side by side in float on the CPU, and lets a 1×1 convolution with
    2C inputs add them.
    """
    layer = site.layer
    if layer.op not in ("Add", "Sum") or site.predicted.weight_loads == 0:
        return None
    return f"{len(layer.inputs)} maps of {layer.out_shape[1]} channels"
