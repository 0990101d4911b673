"""Firmware profiles: the files in the repository, and what a broken one says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from pipeline.errors import FirmwareError
from pipeline.firmware.profile import FOLDER, load_profile, profiles

ROOT = Path(__file__).parents[2]
FULL = ROOT / FOLDER / "maixpy-full.yaml"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one firmware."""
    (tmp_path / FOLDER).mkdir(parents=True)
    shutil.copy(FULL, tmp_path / FOLDER)
    return tmp_path


def write(project: Path, values: dict[str, object]) -> None:
    (project / FOLDER / "mine.yaml").write_text(yaml.safe_dump(values))


@pytest.mark.parametrize(
    ("name", "versions"),
    [
        ("c-sdk", (3, 4)),
        ("c-sdk-develop", (3, 4, 5)),
        ("maixpy-full", (3, 4)),
        ("maixpy-minimum", (3,)),
        ("maixpy-minimum-v4", (3, 4)),
        ("canmv", (3, 4)),
        ("canmv-v5", (3, 4, 5)),
    ],
)
def test_versions_of_every_firmware(name: str, versions: tuple[int, ...]) -> None:
    assert load_profile(name, ROOT).versions == versions


def test_every_figure_has_status_and_source() -> None:
    for profile in profiles(ROOT):
        values = profile.model_dump()
        figures = [v for v in values.values() if isinstance(v, dict) and "value" in v]
        figures += values["loader_bytes"].values()
        assert len(figures) >= 10
        assert all(figure["source"] and figure["status"] for figure in figures)
        assert all(figure["status"] == "assumed" for figure in figures if figure["value"] is None)


def test_an_unknown_firmware_lists_the_known() -> None:
    with pytest.raises(FirmwareError, match=r"(?s)no firmware 'maixpi'.*c-sdk, .*maixpy-full"):
        load_profile("maixpi", ROOT)


def test_a_path_is_not_a_name(project: Path) -> None:
    with pytest.raises(FirmwareError, match="no firmware"):
        load_profile("../firmware/maixpy-full", project)


def test_adding_a_firmware_is_adding_a_file(project: Path) -> None:
    shutil.copy(FULL, project / FOLDER / "mine.yaml")
    assert load_profile("mine", project).name == "mine"
    assert [profile.name for profile in profiles(project)] == ["maixpy-full", "mine"]


def test_an_unknown_key_is_named(project: Path) -> None:
    write(project, {**yaml.safe_load(FULL.read_text()), "heap_stat_bytes": 1})
    with pytest.raises(FirmwareError, match=r"mine.yaml.*heap_stat_bytes"):
        load_profile("mine", project)


def test_a_figure_without_source_is_refused(project: Path) -> None:
    values = yaml.safe_load(FULL.read_text())
    del values["boot_bytes"]["source"]
    write(project, values)
    with pytest.raises(FirmwareError, match=r"boot_bytes\.source"):
        load_profile("mine", project)


def test_a_number_as_text_is_refused(project: Path) -> None:
    values = yaml.safe_load(FULL.read_text())
    values["boot_bytes"]["value"] = "126400"
    write(project, values)
    with pytest.raises(FirmwareError, match=r"boot_bytes\.value"):
        load_profile("mine", project)


def test_a_version_without_loader_bytes_is_refused(project: Path) -> None:
    values = yaml.safe_load(FULL.read_text())
    values["kmodel_versions"]["value"] = [3, 4, 5]
    write(project, values)
    with pytest.raises(FirmwareError, match="loader_bytes must have one figure"):
        load_profile("mine", project)


@pytest.mark.parametrize("content", ["- a list", "a: [", ""])
def test_what_is_no_profile_names_its_file(project: Path, content: str) -> None:
    (project / FOLDER / "mine.yaml").write_text(content)
    with pytest.raises(FirmwareError, match=r"mine\.yaml"):
        load_profile("mine", project)
