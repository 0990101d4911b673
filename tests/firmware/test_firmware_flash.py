"""Flash layout, the byte-swapped form, and the package that kflash writes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kflash_board import flash_with_kflash

from pipeline.errors import FirmwareError
from pipeline.firmware.flash import BLOCK_BYTES, flash_layout, swap_words
from pipeline.firmware.kfpkg import FlashFile, pack
from pipeline.firmware.profile import Profile, load_profile, profiles

ROOT = Path(__file__).parents[2]

MAIXPY = load_profile("maixpy-full", ROOT)


def test_models_lie_one_behind_the_other_in_blocks() -> None:
    layout = flash_layout(MAIXPY, [("a", 1), ("b", BLOCK_BYTES), ("c", BLOCK_BYTES + 1)])
    first = MAIXPY.flash_models_start.value
    assert [region.start for region in layout.models] == [first, first + BLOCK_BYTES, first + 2 * BLOCK_BYTES]
    assert layout.models[-1].end == first + 4 * BLOCK_BYTES
    assert [region.name for region in layout.others] == ["the firmware", "the file system (SPIFFS)"]


@pytest.mark.parametrize("profile", profiles(ROOT), ids=lambda profile: profile.name)
def test_whatever_fits_between_firmware_and_file_system_is_placed_there(profile: Profile) -> None:
    room = profile.flash_models_end.value - profile.flash_models_start.value
    layout = flash_layout(profile, [("all", room)])
    assert layout.models[0].end == profile.flash_models_end.value
    with pytest.raises(FirmwareError):
        flash_layout(profile, [("all", room + 1)])


def test_overlap_with_the_firmware_is_refused() -> None:
    start = MAIXPY.flash_models_start.value
    with pytest.raises(FirmwareError, match=r"the firmware .* overlaps m "):
        flash_layout(MAIXPY, [("m", 100)], start=start - BLOCK_BYTES)
    with pytest.raises(FirmwareError, match=r"the firmware .* overlaps m "):
        flash_layout(MAIXPY, [("m", 100)], firmware_bytes=start)  # kflash adds a header and a checksum to it
    with pytest.raises(FirmwareError) as refused:
        flash_layout(MAIXPY, [("m", 100)], firmware_bytes=start)
    assert f"keep models within 0x{start + BLOCK_BYTES:06x} to" in str(refused.value.remedy)
    smaller = flash_layout(MAIXPY, [("m", 100)], start=start - BLOCK_BYTES, firmware_bytes=start - 2 * BLOCK_BYTES)
    assert smaller.models[0].start == start - BLOCK_BYTES


def test_overlap_with_the_file_system_is_refused() -> None:
    last = MAIXPY.flash_models_end.value - BLOCK_BYTES
    assert flash_layout(MAIXPY, [("m", BLOCK_BYTES)], start=last).models[0].start == last
    with pytest.raises(FirmwareError, match=r"m .* overlaps the file system"):
        flash_layout(MAIXPY, [("m", BLOCK_BYTES + 1)], start=last)
    with pytest.raises(FirmwareError, match="overlaps"):
        flash_layout(MAIXPY, [("m", 1)], start=MAIXPY.flash_models_end.value)


def test_addresses_inside_a_block_and_behind_the_flash_are_refused() -> None:
    sdk = load_profile("c-sdk", ROOT)
    with pytest.raises(FirmwareError, match="blocks"):
        flash_layout(sdk, [("m", 1)], start=sdk.flash_models_start.value + 4096)
    with pytest.raises(FirmwareError, match="beyond"):
        flash_layout(sdk, [("m", 1)], start=sdk.flash_bytes.value)


@given(st.binary(max_size=40))
def test_swapping_words_twice_gives_the_file_back(content: bytes) -> None:
    swapped = swap_words(content)
    assert len(swapped) % 4 == 0
    assert swap_words(swapped)[: len(content)] == content


def test_words_are_swapped_and_the_last_one_filled_with_zeros() -> None:
    assert swap_words(b"\x03\x00\x00\x00abcdef") == b"\x00\x00\x00\x03dcba\x00\x00fe"


def test_kflash_writes_every_file_of_a_package_to_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, model = bytes(range(256)) * 300, b"\xc0\xdb\xdc\xdd" * 40_000
    package = tmp_path / "board.kfpkg"
    package.write_bytes(pack([FlashFile("firmware.bin", 0, program, firmware=True), FlashFile("m", 0x300000, model)]))
    board = flash_with_kflash(package, monkeypatch)
    assert board.flash(0x300000, len(model)) == model
    head = board.flash(0, 5)
    assert int.from_bytes(head[1:], "little") == len(program)
    assert board.flash(5, len(program)) == program
    assert board.flash(5 + len(program), 32) == hashlib.sha256(head + program).digest()


def test_packages_are_reproducible_and_list_what_they_hold() -> None:
    files = [FlashFile("a.kmodel", 0x300000, b"abc"), FlashFile("b.kmodel", 0x310000, b"")]
    assert pack(files) == pack(files)
    with zipfile.ZipFile(BytesIO(pack(files))) as archive:
        assert archive.read("a.kmodel") == b"abc"
        listed = json.loads(archive.read("flash-list.json"))["files"]
    assert [(entry["bin"], entry["address"], entry["sha256Prefix"]) for entry in listed] == [
        ("a.kmodel", 0x300000, False),
        ("b.kmodel", 0x310000, False),
    ]


def test_two_files_cannot_share_an_address_or_a_name() -> None:
    with pytest.raises(FirmwareError, match="same address"):
        pack([FlashFile("a", 0, b""), FlashFile("b", 0, b"")])
    with pytest.raises(FirmwareError, match="same name"):
        pack([FlashFile("a", 0, b""), FlashFile("a", 65536, b"")])
