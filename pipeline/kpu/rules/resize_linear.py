"""Linear resizes with half pixels."""

from __future__ import annotations

from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="wrong-numbers",
    limit="pytorch_half_pixel, align_corners or asymmetric",
    replacement="coordinate_transformation_mode pytorch_half_pixel: the same numbers (but for sizes of 1)",
    source="measured with nncase 1.9.0.20230322: relative error 0.18 to 0.73",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 reads half_pixel (what PyTorch exports for align_corners=False) as asymmetric, and says nothing: the
    map is shifted.
    """
    layer = site.layer
    if layer.op != "Resize" or layer.attributes.get("mode") != "linear" or layer.in_shape == layer.out_shape:
        return None
    if len(layer.inputs) == 2:
        return None  # before opset 11 there was no other mode than asymmetric
    mode = layer.attributes.get("coordinate_transformation_mode", "half_pixel")
    return None if mode in ("pytorch_half_pixel", "align_corners", "asymmetric") else f"linear, {mode}"
