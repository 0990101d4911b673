"""The doctor finds each missing thing, says how to mend it, and changes nothing."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pipeline import doctor
from pipeline.compiler import environment
from pipeline.doctor import Finding, diagnose

ROOT = Path(__file__).parents[1]


def finding(root: Path, name: str) -> Finding:
    return next(each for each in diagnose(root) if each.name == name)


@pytest.mark.nncase
def test_a_set_up_repository_is_sound() -> None:
    assert [each for each in diagnose(ROOT) if not each.ok] == []


def test_it_imports_nothing_heavy() -> None:
    code = "import sys; from pipeline.doctor import diagnose; from pathlib import Path; diagnose(Path('.'));"
    heavy = "print([m for m in ('tensorflow', 'torch', 'onnx') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + heavy], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_empty_folder_is_told_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr(environment, "INSTALLATION", tmp_path)
    missing = {each.name: each for each in diagnose(tmp_path) if not each.ok}
    assert missing.keys() == {"nncase", "git", "DVC", "data"}
    assert all(each.seen and each.remedy for each in missing.values())
    assert "make setup" in missing["nncase"].remedy
    assert list(tmp_path.iterdir()) == []


def test_packages_that_differ_from_the_lock_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "kpufit.lock"
    lock.write_text("# comment\npytest==0.0.1\nno-such-package==1.0\npluggy==0\niniconfig==0\n")
    monkeypatch.setattr(doctor, "_LOCK", lock)
    found = finding(ROOT, "packages")
    assert not found.ok
    assert f"pytest {pytest.__version__}, not 0.0.1, no-such-package missing, not 1.0" in found.seen
    assert found.seen.endswith("and 1 more")
    assert "make setup" in found.remedy


def test_a_dvc_that_calls_home_is_told_how_to_stop(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    found = finding(tmp_path, "DVC")
    assert not found.ok
    assert found.remedy == "dvc config core.check_update false"


@pytest.mark.parametrize("installed", [True, False])
def test_without_git_it_says_what_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    if not installed:
        monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    needed = finding(tmp_path, "git")
    assert not needed.ok
    assert needed.remedy.startswith("git init" if installed else "install git")
    assert "dvc config core.no_scm true" in needed.remedy
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")  # as kpufit init writes it there
    found = finding(tmp_path, "git")
    assert found.ok
    assert "dvc metrics diff" in found.seen
    assert ("git init" in found.seen) == installed


def test_data_that_was_not_fetched_names_the_command(tmp_path: Path) -> None:
    recipe = (ROOT / "recipes/fashion-mnist-mini.yaml").read_text()
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/large.yaml").write_text(recipe.replace("name: fashion-mnist-mini", "name: fashion-mnist"))
    (tmp_path / "params.yaml").write_text("recipes:\n  - large\n")
    found = finding(tmp_path, "data")
    assert not found.ok
    assert "kpufit data fashion-mnist" in found.remedy


@pytest.mark.parametrize(("name", "limit"), [("disk", "DISK_BYTES"), ("memory", "MEMORY_BYTES")])
def test_too_little_is_said_with_how_much_is_needed(name: str, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, limit, 1 << 60)
    found = finding(ROOT, name)
    assert not found.ok
    assert "at least 1073741824.0 GiB" in found.remedy


def test_the_lock_holds_every_dependency_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "locks/kpufit.lock").read_text().splitlines()
    pins = {name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines)}
    wanted = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    for requirement in map(Requirement, wanted):
        name = requirement.name.lower().replace("_", "-")
        assert name in pins, f"{name} is not in the lock: run `make lock`"
        assert requirement.specifier.contains(pins[name]), f"{requirement}, but the lock has {pins[name]}"
