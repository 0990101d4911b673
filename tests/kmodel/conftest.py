"""Kmodels to test on: a few golden ones that are committed, and all of ../shared/kmodels where it is present."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def goldens(shared: Path) -> list[Path]:
    """The golden networks' folders: nncase 1.9's v5, and the v4 and v3 that reference runtimes ran."""
    folders = sorted((shared / "kmodels" / "golden").glob("*/"))
    assert len(folders) == 8
    return folders


@pytest.fixture(scope="session")
def real_files(shared: Path) -> dict[str, bytes]:
    files = {path.stem: path.read_bytes() for path in sorted((shared / "kmodels" / "real").glob("*.kmodel"))}
    assert len(files) == 9
    return files


@pytest.fixture(scope="session")
def committed() -> dict[str, bytes]:
    """n3 (three convolutions, LeakyReLU, odd sizes, float output) as v3, v4, v5; c1 (a classifier) as v4 and v5."""
    files = {path.stem: path.read_bytes() for path in sorted(DATA.glob("*.kmodel"))}
    assert set(files) == {"n3_v3", "n3_v4", "n3_v5", "c1_v4", "c1_v5"}
    return files
