"""How many bytes a kmodel may have, before there is one."""

from __future__ import annotations

from pipeline.firmware.memory import flash_space, loader_bytes, memory
from pipeline.firmware.profile import Profile
from pipeline.recipe import Target


def kmodel_budget(profile: Profile, target: Target) -> int:
    """Return the bytes that the file may have: the recipe's own budget, or what the firmware leaves beside its loader.

    The model's main memory is not known yet and not subtracted; the gate counts it.

    Raises:
        FirmwareError: the target asks for the measured sum alone, but the firmware was not measured.
    """
    if target.load == "flash-stream":
        room = flash_space(profile)
    else:
        in_memory = memory(profile, target).limit - loader_bytes(profile, max(profile.versions))
        room = min(in_memory, profile.largest_file_bytes.value)
    return room if target.model_bytes is None else min(room, target.model_bytes)
