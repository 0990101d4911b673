"""Resize and LRN ⇄ ``nn.Upsample`` and ``nn.LocalResponseNorm``."""

from __future__ import annotations

import numpy as np
from torch import nn

from pipeline.network.operation import Operation
from pipeline.network.operators.form import Layer, Lifter, Writer, Writing, Written, write_node

_HALF_PIXEL = ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn")


def lift_resize(operation: Operation) -> nn.Module:
    """Return the ``nn.Upsample``: nearest by whole factors, or linear."""
    sizes, output = operation.sizes(), operation.output
    if len(sizes) != 3 or output is None or len(output) != 4 or output[1] != sizes[0] or None in output[2:]:
        raise operation.refuse("it does not resize height and width alone, to a fixed size")
    factors = [int(out or 0) / size for out, size in zip(output[2:], sizes[1:], strict=True)]
    scales = operation.constant(2)
    if scales is not None and scales.size == 4 and not np.allclose(scales[2:], factors):
        raise operation.refuse(f"scales of {[float(scale) for scale in scales[2:]]} end between pixels")
    mode = str(operation.attributes.get("mode", "nearest"))
    place = str(operation.attributes.get("coordinate_transformation_mode", "half_pixel"))
    rounding = str(operation.attributes.get("nearest_mode", "round_prefer_floor"))
    if mode == "nearest":
        # By a whole factor, both ways of placing pixels repeat each one; otherwise they choose different ones.
        floor = place == "asymmetric" and rounding == "floor"
        whole = all(factor == int(factor) for factor in factors)
        if not floor and not (whole and place in _HALF_PIXEL and rounding.startswith("round")):
            raise operation.refuse(f"nearest by {factors} with {place}, {rounding}")
        return nn.Upsample(scale_factor=(factors[0], factors[1]), mode="nearest")
    size = (int(output[2] or 0), int(output[3] or 0))
    if place == "pytorch_half_pixel" and min(size) > 1:  # they differ for one pixel alone
        place = "half_pixel"
    if mode == "linear" and place in ("half_pixel", "align_corners"):
        return nn.Upsample(size=size, mode="bilinear", align_corners=place == "align_corners")
    raise operation.refuse(f"mode {mode} with {place}")


def lift_lrn(operation: Operation) -> nn.Module:
    """Return the ``nn.LocalResponseNorm``."""
    size = int(operation.attributes["size"])
    if size % 2 == 0:
        raise operation.refuse("an even window, which PyTorch places one channel off")
    get = operation.attributes.get
    return nn.LocalResponseNorm(size, float(get("alpha", 1e-4)), float(get("beta", 0.75)), float(get("bias", 1.0)))


def _write_upsample(upsample: nn.Upsample, layer: Layer) -> Written:
    writing = Writing(layer)
    scales = [out / size for out, size in zip(layer.output_shape, layer.shape, strict=True)]
    inputs = [layer.inputs[0], "", writing.weight("scales", np.asarray(scales, np.float32))]
    if upsample.mode == "nearest":
        return writing.last(
            "Resize", inputs, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )
    if upsample.mode == "bilinear":
        place = "align_corners" if upsample.align_corners else "half_pixel"
        return writing.last("Resize", inputs, mode="linear", coordinate_transformation_mode=place)
    raise ValueError(f"nn.Upsample with mode={upsample.mode} has no operator in ONNX")


def _write_lrn(norm: nn.LocalResponseNorm, layer: Layer) -> Written:
    return write_node(layer, "LRN", alpha=norm.alpha, beta=norm.beta, bias=norm.k, size=norm.size)


LIFT: dict[str, Lifter] = {"Resize": lift_resize, "LRN": lift_lrn}
WRITE: dict[type[nn.Module], Writer] = {nn.Upsample: _write_upsample, nn.LocalResponseNorm: _write_lrn}
