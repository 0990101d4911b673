"""What a program must know of a kmodel to use it: its input, its output, its calls."""

from __future__ import annotations

from typing import Any

from pipeline.errors import KmodelError
from pipeline.firmware.calls import set_outputs_calls
from pipeline.firmware.profile import Profile
from pipeline.kmodel.memory import DType
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.moving import Dequantise, DequantiseV4
from pipeline.network.contract import InputContract

_ORDERS = {1: "grey", 3: "RGB: three planes, red first"}


def io_contract(kmodel: Kmodel, contract: InputContract, labels: list[str], profile: Profile) -> dict[str, Any]:
    """Return input, output and calls of a classifier's kmodel as plain values.

    Raises:
        KmodelError: its input is no image that a board has, or it has not one float output a label: nothing else is
            given and read by the bundle's programs.
    """
    channels, height, width = contract.image
    if channels not in _ORDERS:
        raise KmodelError(
            f"an input of {channels} channels: a board's images are grey or RGB",
            remedy="train it on images of 1 or 3 channels",
        )
    if len(kmodel.outputs) != 1 or kmodel.outputs[0].dtype is not DType.FLOAT32:
        found = ", ".join(f"{output.dtype.numpy_name} {output.shape}" for output in kmodel.outputs)
        raise KmodelError(
            f"a bundle is for a kmodel with one float output, this one has {found or 'none'}",
            remedy="convert it as v4 or v3, which end in float",
        )
    output = kmodel.outputs[0]
    if output.elements != len(labels):
        raise KmodelError(
            f"{output.elements} outputs, but the recipe names {len(labels)} labels",
            remedy="name every output in data.labels",
        )
    low, high = contract.input_range
    return {
        "input": {
            "shape": [1, channels, height, width],
            "dtype": "uint8",
            "layout": "NCHW",
            "channel_order": _ORDERS[channels],
            "bytes": channels * height * width,
            "range": [0, 255],
            "normalisation": "in the kmodel: give pixels as they are",
            "real_range": [low, high],
        },
        "output": {
            "shape": [1, output.elements],
            "dtype": "float32",
            "labels": labels,
            "meaning": "a logit a label; softmax gives probabilities",
            "scale": 1.0,
            "zero_point": 0,
            "value": "(output - zero_point) * scale",
            "before_the_head": quantised_map(kmodel),
        },
        "calls": set_outputs_calls(kmodel, profile),
    }


def quantised_map(kmodel: Kmodel) -> dict[str, Any] | None:
    """Return the last map that the KPU hands to the CPU: uint8, and what its codes mean; None where there is none."""
    for step in reversed(kmodel.steps):
        if isinstance(step, DequantiseV4):
            scale, zero_point = 1.0 / step.scale, step.zero_point
        elif isinstance(step, Dequantise):
            scale, zero_point = step.scale, round(-step.bias / step.scale)
        else:
            continue
        return {"shape": list(step.source.shape), "dtype": "uint8", "scale": scale, "zero_point": zero_point}
    return None
