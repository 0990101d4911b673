"""Nearest resizes that round otherwise than nncase."""

from __future__ import annotations

import numpy as np

from pipeline.kpu.layers import Layer
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="wrong-numbers",
    limit="the pixels that nncase 1.9 picks",
    replacement="asymmetric with nearest_mode floor (or half_pixel with round_prefer_floor at whole factors)",
    source="measured with nncase 1.9.0.20230322 on 32 resizes: relative error 0.6 to 1.0",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 leaves nearest_mode out: it rounds down (asymmetric, half_pixel), takes the pixel's middle
    (pytorch_half_pixel) or rounds (align_corners). Where the network asks for other pixels, the map is shifted.
    """
    layer = site.layer
    if layer.op != "Resize" or layer.attributes.get("mode", "nearest") != "nearest" or len(layer.inputs) < 3:
        return None
    if len(layer.in_shape) != 4 or len(layer.out_shape) != 4:
        return None
    if all(_asked(layer, axis) == _picked(layer, axis) for axis in (2, 3)):
        return None
    return f"{_mode(layer)}, nearest_mode {layer.attributes.get('nearest_mode', 'round_prefer_floor')}"


def _mode(layer: Layer) -> str:
    return str(layer.attributes.get("coordinate_transformation_mode", "half_pixel"))


def _asked(layer: Layer, axis: int) -> list[int]:
    """Return the pixels that ONNX's definition picks along an axis."""
    source, size = layer.in_shape[axis], layer.out_shape[axis]
    at, factor = np.arange(size), size / source
    mode = _mode(layer)
    if mode == "asymmetric":
        places = at / factor
    elif mode == "align_corners":
        places = at * (source - 1) / max(1, size - 1)
    elif mode == "pytorch_half_pixel" and size == 1:
        places = at * 0.0
    else:
        places = (at + 0.5) / factor - 0.5
    rounding = layer.attributes.get("nearest_mode", "round_prefer_floor")
    if rounding == "floor":
        rounded = np.floor(places)
    elif rounding == "ceil":
        rounded = np.ceil(places)
    elif rounding == "round_prefer_ceil":
        rounded = np.floor(places + 0.5)
    else:
        rounded = np.ceil(places - 0.5)
    return [int(n) for n in np.clip(rounded, 0, source - 1)]


def _picked(layer: Layer, axis: int) -> list[int]:
    """Return the pixels that nncase picks."""
    source, size = layer.in_shape[axis], layer.out_shape[axis]
    at = np.arange(size)
    mode = _mode(layer)
    if mode == "align_corners":
        places = np.round(at * (source - 1) / max(1, size - 1))
    elif mode == "pytorch_half_pixel":
        places = np.floor((at + 0.5) * source / size)
    else:
        places = np.floor(at * source / size)
    return [int(n) for n in np.clip(places, 0, source - 1)]
