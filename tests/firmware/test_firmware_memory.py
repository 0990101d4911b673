"""The memory sum against the figures measured on released binaries."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import FirmwareError
from pipeline.firmware.memory import camera_bytes, flash_space, memory, needed_bytes, streamed_bytes
from pipeline.firmware.profile import load_profile
from pipeline.recipe import Target

ROOT = Path(__file__).parents[2]
FULL = load_profile("maixpy-full", ROOT)


@pytest.mark.parametrize(
    ("name", "after_gc", "with_camera"),
    [
        ("maixpy-full", 2_622_080, 2_084_480),
        ("maixpy-minimum", 4_764_624, 4_227_024),
        ("maixpy-minimum-v4", 4_337_200, 3_799_600),
    ],
)
def test_free_memory_as_measured(name: str, after_gc: int, with_camera: int) -> None:
    profile = load_profile(name, ROOT)
    assert memory(profile, Target(firmware=name, camera="none", lcd=False)).free == after_gc
    assert memory(profile, Target(firmware=name)).free == with_camera


@pytest.mark.parametrize(
    ("name", "limit", "limit_by"),
    [
        ("maixpy-full", 2_000_000, "documented"),
        ("maixpy-minimum", 3_000_000, "documented"),
        ("c-sdk", 5_753_856, "sum"),
        ("canmv", 2_000_000, "documented"),
    ],
)
def test_the_limit_is_the_smaller_of_sum_and_documentation(name: str, limit: int, limit_by: str) -> None:
    found = memory(load_profile(name, ROOT), Target(firmware=name))
    assert (found.limit, found.limit_by) == (limit, limit_by)


def test_the_measured_limit_is_the_sum_alone() -> None:
    profile = load_profile("maixpy-full", ROOT)
    assert memory(profile, Target(firmware="maixpy-full", limit="measured")).limit == 2_084_480


def test_what_was_not_measured_has_no_measured_limit() -> None:
    profile = load_profile("canmv", ROOT)
    assert not memory(profile, Target(firmware="canmv")).complete
    with pytest.raises(FirmwareError, match=r"(?s)canmv.*not measured.*documented"):
        memory(profile, Target(firmware="canmv", limit="measured"))


def test_camera_bytes() -> None:
    assert camera_bytes("none") == 0
    assert camera_bytes("qqvga") == 96_000
    assert camera_bytes("qvga") == 384_000
    assert camera_bytes("qvga", dual_buffer=True) == 768_000
    assert camera_bytes("vga") == 1_536_000


@given(st.integers(1, 8 << 20), st.sampled_from(["none", "qqvga", "qvga", "vga"]), st.booleans(), st.booleans())
def test_the_parts_and_what_is_free_are_the_whole(gc_heap: int, camera: str, dual: bool, lcd: bool) -> None:
    target = Target(firmware="maixpy-full", camera=camera, dual_buffer=dual, lcd=lcd, gc_heap=gc_heap)  # type: ignore[arg-type]
    found = memory(FULL, target)
    assert found.free == max(0, found.total - sum(part.size for part in found.parts))
    assert 0 <= found.limit <= min(found.free, 2_000_000)


def test_needed_bytes_are_what_the_released_loaders_allocate() -> None:
    profile = load_profile("maixpy-full", ROOT)
    assert needed_bytes(profile, 3, 208_072, 14_112) == 208_072 + 14_112 + 449
    assert needed_bytes(profile, 4, 245_104, 903_168) == 245_104 + 903_168 + 737


def test_streaming_takes_header_main_memory_and_largest_layer() -> None:
    assert streamed_bytes(1000, 50_000) == 4096 + 256 + 1000 + 50_000
    assert flash_space(load_profile("maixpy-full", ROOT)) == 10 << 20
