"""The memory sum: how much a firmware leaves for a model, and how much a kmodel needs.

``free = main memory − heap start − boot − MicroPython's heap − camera − LCD``; a kmodel needs its file, its main memory
and what the loader allocates beside them. The file is one contiguous block of the heap (MaixPy's and CanMV's kpu.load).
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import FirmwareError
from pipeline.firmware.profile import Profile
from pipeline.recipe import Target

CAMERA_SIZES = {"none": (0, 0), "qqvga": (160, 120), "qvga": (320, 240), "vga": (640, 480)}
"""Width and height of a frame."""

CAMERA_BYTES_A_PIXEL = 5
"""RGB565 for the screen and three planes of uint8 for the KPU (MaixPy)."""

LCD_BYTES = 2 * 320 * 240
"""RGB565 for a screen of 320×240."""

STREAM_HEADER_BYTES = 4096
"""``kpu.load_flash`` reads the file's header into one block of this size, in which it must fit (MaixPy)."""

STREAM_ALIGNMENT_BYTES = 256


@dataclass(frozen=True)
class Part:
    """One line of the memory sum: what it is, how many bytes, and the status of the figure."""

    name: str
    size: int
    status: str


@dataclass(frozen=True)
class Memory:
    """What a firmware leaves for a model.

    Attributes:
        total: of main memory, bytes.
        parts: what is taken from it.
        free: what is left; an upper bound where ``complete`` is False.
        complete: whether every part is known.
        limit: what a model may take: the documented figure or the sum, whichever the target asks for.
        limit_by: "documented" or "sum".
    """

    total: int
    parts: tuple[Part, ...]
    free: int
    complete: bool
    limit: int
    limit_by: str


def camera_bytes(size: str, dual_buffer: bool = False) -> int:
    """Return the bytes of the camera's frame buffers ("none", "qqvga", "qvga" or "vga")."""
    width, height = CAMERA_SIZES[size]
    return CAMERA_BYTES_A_PIXEL * width * height * (2 if dual_buffer else 1)


def memory(profile: Profile, target: Target) -> Memory:
    """Return what a firmware leaves for a model beside camera, LCD and MicroPython's heap.

    Raises:
        FirmwareError: the target asks for the measured sum alone, but the firmware was not measured.
    """
    start = profile.heap_start_bytes
    gc_heap = profile.gc_heap_bytes
    parts = (
        Part("firmware (code and static data)", start.value or 0, start.status),
        Part("start-up", profile.boot_bytes.value, profile.boot_bytes.status),
        Part("MicroPython's heap", gc_heap.value, gc_heap.status)
        if target.gc_heap is None
        else Part("MicroPython's heap", target.gc_heap, "recipe"),
        Part("camera", camera_bytes(target.camera, target.dual_buffer), "recipe"),
        Part("LCD", LCD_BYTES if target.lcd else 0, "recipe"),
    )
    free = max(0, profile.main_memory_bytes.value - sum(part.size for part in parts))
    documented = profile.documented_limit_bytes.value
    if target.limit == "measured":
        if not profile.is_measured:
            raise FirmwareError(
                f"the memory that {profile.name} itself takes was not measured",
                where="target.limit",
                remedy="set target.limit: documented",
            )
        limit, limit_by = free, "sum"
    else:
        limit, limit_by = (documented, "documented") if documented <= free else (free, "sum")
    return Memory(profile.main_memory_bytes.value, parts, free, profile.is_measured, limit, limit_by)


def loader_bytes(profile: Profile, version: int) -> int:
    """Return what loading a kmodel takes beside file and main memory; of the nearest version if it cannot load this."""
    figures = {int(key): figure.value for key, figure in profile.loader_bytes.items()}
    return figures[min(figures, key=lambda known: abs(known - version))]


def needed_bytes(profile: Profile, version: int, kmodel_bytes: int, heap_bytes: int) -> int:
    """Return the main memory that a kmodel in memory (from SD card or flash, real time) takes."""
    return kmodel_bytes + heap_bytes + loader_bytes(profile, version)


def streamed_bytes(heap_bytes: int, largest_body_bytes: int) -> int:
    """Return the main memory that a kmodel streamed from flash takes: header, main memory, largest layer."""
    return STREAM_HEADER_BYTES + STREAM_ALIGNMENT_BYTES + heap_bytes + largest_body_bytes


def flash_space(profile: Profile) -> int:
    """Return the bytes of flash that models may take."""
    return profile.flash_models_end.value - profile.flash_models_start.value
