"""What the recipe's kmodel is for."""

from __future__ import annotations

from pipeline.firmware.profile import Profile, load_profile
from pipeline.stages.layout import Run


def target_profile(run: Run) -> Profile:
    """The firmware that the recipe names. Raises FirmwareError."""
    return load_profile(run.recipe.target.firmware, run.root)


def target_version(run: Run) -> int:
    """The kmodel version to make: the recipe's, or the newest that the firmware loads. Raises FirmwareError."""
    wanted = run.recipe.target.kmodel
    return max(target_profile(run).versions) if wanted == "auto" else wanted
