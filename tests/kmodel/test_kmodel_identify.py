from __future__ import annotations

import struct

import pytest

from pipeline.errors import KmodelError
from pipeline.kmodel.identify import identify
from pipeline.kmodel.read import read


@pytest.mark.parametrize(
    ("head", "version", "readable", "name"),
    [
        (struct.pack("<I", 1), 1, False, "v1"),
        (struct.pack("<I", 3), 3, True, "v3"),
        (struct.pack("<I", 10003), None, False, "encrypted"),
        (b"LDMK" + struct.pack("<I", 4), 4, True, "v4"),
        (b"LDMK" + struct.pack("<2I", 5, 32), 5, True, "kmodel v5"),
        (b"LDMK" + struct.pack("<2I", 5, 0), 5, True, "early"),
        (b"LDMK" + struct.pack("<I", 6), 6, False, "v6"),
        (b"LDMK" + struct.pack("<I", 7), 7, False, "v7"),
        (b"LDMK" + struct.pack("<I", 99), None, False, "unknown version (99)"),
        (b"\x08\x00\x00\x00TFL3", None, False, "no kmodel"),
    ],
)
def test_versions_are_told_apart_and_named(head: bytes, version: int | None, readable: bool, name: str) -> None:
    data = head.ljust(64, b"\0")
    identity = identify(data)
    assert (identity.version, identity.readable) == (version, readable)
    assert name in identity.name
    if not readable:
        with pytest.raises(KmodelError, match="cannot read") as refused:
            read(data, "some.kmodel")
        assert refused.value.where == "some.kmodel"
        assert refused.value.remedy


@pytest.mark.parametrize("size", range(8))
def test_short_files_are_no_kmodels(size: int) -> None:
    assert not identify(b"LDMK\x05\x00\x00"[:size]).readable
    with pytest.raises(KmodelError):
        read(b"LDMK\x05\x00\x00"[:size])


def test_real_files_are_recognised(real_files: dict[str, bytes]) -> None:
    versions = {name: (identify(data).version, identify(data).early) for name, data in real_files.items()}
    assert versions == {
        "v3_facedetect": (3, False), "v3_iris": (3, False), "v3_mnist": (3, False),
        "v4_iris": (4, False), "v4_slim320": (4, False), "v4_uint8_mnist": (4, False),
        "v5_mnist_stackvm": (5, False), "v5_yolox_nano_224": (5, False), "v5early_mnist": (5, True),
    }  # fmt: skip
