"""nncase's environment: found, or one message that says what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.compiler import environment
from pipeline.compiler.environment import find_nncase, locked_nncase, nncase_version
from pipeline.errors import SetupError

ROOT = Path(__file__).parents[2]


def fake_python(path: Path, answer: str, code: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer}'\necho 'a reason' >&2\nexit {code}\n")
    path.chmod(0o755)
    return path


@pytest.mark.nncase
def test_make_setup_installed_what_the_lock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    assert nncase_version(find_nncase(ROOT)) == locked_nncase(ROOT)


def test_a_missing_environment_asks_for_setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr(environment, "INSTALLATION", tmp_path / "elsewhere")
    with pytest.raises(SetupError, match="environment is missing") as caught:
        find_nncase(tmp_path)
    assert caught.value.where == str(tmp_path / ".venv-nncase/bin/python")
    assert "make setup" in caught.value.remedy


@pytest.mark.nncase
def test_a_project_of_ones_own_uses_the_environment_beside_kpufit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    assert find_nncase(tmp_path) == ROOT / ".venv-nncase/bin/python"


def test_another_version_than_the_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    answer = '{"python": [3, 10], "nncase": "1.8.0", "numpy": "1.26.4"}'
    fake_python(tmp_path / ".venv-nncase/bin/python", answer)
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/nncase.lock").write_text("# a comment\nnncase==1.9.0.20230322\nnumpy==1.26.4\n")
    with pytest.raises(SetupError, match=r"has nncase 1\.8\.0, not 1\.9\.0\.20230322"):
        find_nncase(tmp_path)


def test_the_variable_chooses_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = '{"python": [3, 9], "nncase": "1.8.0", "numpy": "1.26.4"}'
    python = fake_python(tmp_path / "other/python", answer)
    monkeypatch.setenv(environment.VARIABLE, str(python))
    assert find_nncase(ROOT) == python
    assert nncase_version(python) == "1.8.0"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ('{"python": [3, 12], "nncase": "1.9.0", "numpy": "1.26.4"}', "Python 3.7 to 3.10"),
        ('{"python": [3, 10], "nncase": "1.9.0", "numpy": "2.2.0"}', "crashes with numpy 2.2.0"),
    ],
)
def test_what_nncase_cannot_run_on_is_refused(tmp_path: Path, answer: str, message: str) -> None:
    with pytest.raises(SetupError, match=message):
        nncase_version(fake_python(tmp_path / "python", answer))


def test_a_shim_that_does_not_start_is_refused(tmp_path: Path) -> None:
    """Pyenv leaves a python3.10 on PATH that exits with 127."""
    with pytest.raises(SetupError, match="a reason"):
        nncase_version(fake_python(tmp_path / "python", "", 127))


def test_a_python_without_nncase_is_refused() -> None:
    with pytest.raises(SetupError, match="nncase"):
        nncase_version(Path(sys.executable))


def test_the_time_limit_is_the_users_or_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environment.TIME_VARIABLE, raising=False)
    assert environment.time_limit_s(600.0) == 600.0
    monkeypatch.setenv(environment.TIME_VARIABLE, "2.5")
    assert environment.time_limit_s(600.0) == 2.5


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan", "inf"])
def test_a_time_limit_that_is_none_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.TIME_VARIABLE, given)
    with pytest.raises(SetupError, match=f"'{given}' is not a number of seconds") as caught:
        environment.time_limit_s(600.0)
    assert caught.value.where == environment.TIME_VARIABLE
    assert "600 s" in caught.value.remedy
