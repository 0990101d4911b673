"""Which firmware a bundle is for, and what else runs there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pipeline.errors import RecipeError
from pipeline.firmware.profile import Profile
from pipeline.recipe import Target
from pipeline.stages.layout import Run

Load = Literal["sd", "flash", "flash-stream"]

_SHARED = ("camera", "dual_buffer", "lcd", "gc_heap", "limit")
"""Keys of a target that hold for the program, whichever model it runs."""


def bundle_target(runs: Sequence[Run], profile: Profile, load: Load | None) -> Target:
    """Return what the program of a bundle runs beside its models.

    Args:
        runs: the recipes.
        profile: the firmware of the bundle.
        load: where the models are loaded from; None: as the recipes say.

    Raises:
        RecipeError: the recipes want different programs, or no camera.
    """
    first = runs[0].recipe.target
    keys = _SHARED if load is not None else (*_SHARED, "load")
    for run in runs[1:]:
        for key in keys:
            mine, other = getattr(first, key), getattr(run.recipe.target, key)
            if mine != other:
                raise RecipeError(
                    f"target.{key} is {other!r}, in {runs[0].name} {mine!r}: one program has one",
                    where=run.name,
                    remedy=f"make target.{key} equal" + (", or give --load" if key == "load" else ""),
                )
    if first.camera == "none":
        raise RecipeError(
            "target.camera is none, but the program of a bundle runs on the camera",
            where=runs[0].name,
            remedy="set target.camera, so that its memory is counted, and run the recipe again",
        )
    wanted = load or first.load
    if profile.interface == "c-sdk" and wanted == "sd":
        wanted = "flash"  # its programs have no file system; either way the whole file is in memory
    return first.model_copy(update={"firmware": profile.name, "load": wanted, "kmodel": "auto", "model_bytes": None})


def bundle_firmware(runs: Sequence[Run], firmware: str | None) -> str:
    """Return the firmware's name: the one asked for, or that of all recipes. Raises RecipeError where they differ."""
    if firmware is not None:
        return firmware
    names = sorted({run.recipe.target.firmware for run in runs})
    if len(names) > 1:
        raise RecipeError(
            f"the recipes are for {' and '.join(names)}", where="target.firmware", remedy="give --firmware"
        )
    return names[0]
