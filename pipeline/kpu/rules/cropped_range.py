"""Convolutions whose result nncase crops before the KPU reads on."""

from __future__ import annotations

from pipeline.kpu.rules.parts import read_by_convolutions
from pipeline.kpu.rules.rule import Site, rule

_FOLDED = frozenset({"BatchNormalization", "Clip", "LeakyRelu", "PRelu", "Relu"})


@rule(
    severity="accuracy",
    limit="padding 1 on each side of a 3×3; no convolution behind a transposed one",
    replacement="padding 1 and a network trained with it; or accuracy measured on the kmodel, as `evaluate` does",
    source="measured with nncase 1.9.0.20230322: right with equal ranges, else relative error 0.35 to 1.8",
)
def RULE(site: Site) -> str | None:
    """The KPU always pads by 1: nncase 1.9 computes rows and columns around the map too, and crops them. The numbers
    are right only if none of these reaches further in the calibration images than the map itself: else nncase quantises
    the map anew and reads other pixels.
    """
    layer = site.layer
    if site.predicted.unit != "kpu" or not _is_cropped(site):
        return None
    tensors = list(layer.outputs)
    for tensor in tensors:
        readers = site.network.readers.get(tensor, ())
        tensors += [output for reader in readers if reader.op in _FOLDED for output in reader.outputs]
    reading = read_by_convolutions(site, tuple(tensors))
    return f"read by {', '.join(reader.name for reader in reading)}" if reading else None


def _is_cropped(site: Site) -> bool:
    """Whether the KPU computes more rows or columns than a layer has."""
    layer = site.layer
    if layer.op == "ConvTranspose":
        return any(layer.pads)
    if layer.op != "Conv" or layer.strides != (1, 1):
        return False
    given, made = layer.in_shape[2:], site.network.shapes.get(layer.outputs[0], ())[2:]
    return len(given) == len(made) and any(after < before for before, after in zip(given, made, strict=True))
