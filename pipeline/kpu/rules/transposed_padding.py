"""Transposed convolutions with other padding than 1."""

from __future__ import annotations

from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="does-not-compile",
    limit="padding 1 on each side of a 3×3, none around a 1×1 of stride 1",
    replacement="padding 1 and a crop or output_padding (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322 (shape mismatch)",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 loses what the padding of a transposed convolution takes beyond 1 (and adds what it leaves), and then
    refuses the network because the shapes differ.
    """
    layer = site.layer
    shape = site.network.weights(layer)[2:]
    if layer.op != "ConvTranspose" or shape not in ((3, 3), (1, 1)) or layer.attributes.get("auto_pad"):
        return None
    own = shape[0] // 2
    if layer.pads != (own,) * 4:
        return f"padding {', '.join(map(str, layer.pads))}"
    return f"stride {layer.strides[0]}" if shape == (1, 1) and layer.strides != (1, 1) else None
