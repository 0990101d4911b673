"""The programs of a bundle, for the interface that the firmware has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline.bundle.contents import Bundle
from pipeline.bundle.texts import render
from pipeline.bundle.vectors import TOLERANCE
from pipeline.firmware.board_errors import BOARD_ERRORS
from pipeline.firmware.calls import outputs_to_set
from pipeline.firmware.memory import CAMERA_SIZES

_CAMERA = "load, run on the camera, draw the result, unload"
_CHECK = "runs the test vectors on the board"

PROGRAMS: Mapping[str, Mapping[str, str]] = {
    "maixpy": {"boot.py": f"{_CAMERA}; MaixPy runs it at start", "check_vectors.py": _CHECK},
    "canmv": {"main.py": f"{_CAMERA}; CanMV runs it at start", "check_vectors.py": _CHECK},
    "c-sdk": {"main.c": _CAMERA, "check_vectors.c": _CHECK, "models.h": "the models, for both programs"},
}
"""Files by interface, the one on the camera first, and what each is; its template is ``<interface>/<file>.j2``."""

BOOT_BUTTON = 16
"""The pin of the BOOT button: the chip reads it at reset to enter its loader, so that every board has one there."""


def programs(bundle: Bundle) -> dict[str, str]:
    """Return the programs, by file name."""
    interface = bundle.profile.interface
    values: dict[str, Any] = {
        "bundle": bundle,
        "target": bundle.target,
        "models": _models(bundle),
        "errors": BOARD_ERRORS,
        "tolerance": TOLERANCE,
        "button": BOOT_BUTTON,
        "frame": CAMERA_SIZES[bundle.target.camera],
        "largest_input": max(math.prod(member.image) for member in bundle.members),
    }
    return {name: render(f"{interface}/{name}.j2", **values) for name in PROGRAMS[interface]}


def _models(bundle: Bundle) -> list[dict[str, Any]]:
    models = []
    for member, region in zip(bundle.members, bundle.layout.models, strict=True):
        channels, height, width = member.image
        models.append(
            {
                "name": member.name,
                "address": region.start,
                "bytes": len(member.content),
                "width": width,
                "height": height,
                "channels": channels,
                "outputs": tuple(outputs_to_set(member.kmodel, bundle.profile)),
                "labels": member.labels,
                "vectors": len(member.vectors.inputs),
            }
        )
    return models
