"""What a program on the board must call before a kmodel runs, besides loading it."""

from __future__ import annotations

from pipeline.firmware.profile import Profile
from pipeline.kmodel.memory import Range
from pipeline.kmodel.model import Kmodel


def set_outputs_calls(kmodel: Kmodel, profile: Profile, task: str = "task") -> list[str]:
    """Return the MicroPython calls that a v4 model's outputs need, one an output; none where nothing is needed.

    Without them ``kpu.run`` ends in error 2013; width · height · channels · 4 must be the output's bytes, else error
    2012 (measured on MaixPy's released loader library in an emulated K210).
    """
    return [
        f"kpu.set_outputs({task}, {index}, {', '.join(map(str, shape))})"
        for index, shape in enumerate(outputs_to_set(kmodel, profile))
    ]


def outputs_to_set(kmodel: Kmodel, profile: Profile) -> list[tuple[int, int, int]]:
    """Return width, height and channels of each output that ``kpu.set_outputs`` must be told; [] where it need not."""
    if profile.interface != "maixpy" or kmodel.version != 4:
        return []
    return [_width_height_channels(output) for output in kmodel.outputs]


def _width_height_channels(output: Range) -> tuple[int, int, int]:
    channels, height, width = output.shape[1:] if len(output.shape) == 4 else (output.elements, 1, 1)
    return width, height, channels
