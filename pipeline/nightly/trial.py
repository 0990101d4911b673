"""Other versions of a tool, side by side: an environment of their own, and a copy of the project to run them in."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pipeline.compiler.environment import INSTALLATION
from pipeline.errors import SetupError, ToolError
from pipeline.files import write_text
from pipeline.nightly.side_project import PINS

_NAME = re.compile(r"(nncase|torch|tensorflow)=([\w.+!-]+)")
_TIMEOUT_S = 3600
"""A new environment with torch or TensorFlow is gigabytes."""


@dataclass(frozen=True)
class Environments:
    """The interpreters to run with.

    Attributes:
        python: of the stages.
        nncase: the one that has nncase.
    """

    python: Path
    nncase: Path


def parse_trial(given: Sequence[str]) -> dict[str, str]:
    """Return version by tool of what ``--with`` was given.

    Raises:
        SetupError: it is not TOOL=VERSION of a tool that can be exchanged, or names one twice.
    """
    found: dict[str, str] = {}
    for text in given:
        match = _NAME.fullmatch(text)
        if match is None or match[1] in found:
            raise SetupError(
                "is not one TOOL=VERSION", where=f"--with {text}", remedy="tools: nncase, torch, tensorflow"
            )
        found[match[1]] = match[2]
    return found


def label(trial: Mapping[str, str]) -> str:
    """Return a folder's name for a trial, e.g. "nncase-1.8.0.20220929"."""
    return "+".join(f"{name}-{version}" for name, version in sorted(trial.items()))


def make_environments(folder: Path, trial: Mapping[str, str], usual: Environments) -> Environments:
    """Return interpreters with the wanted versions; environments that are not there yet are made in ``folder``.

    Tools that are not tried stay those of the usual environments.

    Args:
        folder: ``.venv-with/``.
        trial: version by tool.
        usual: the project's own environments; their Python makes the new ones.

    Raises:
        ToolError: pip could not install a version: there is none for this Python, or it does not go with the others.
    """
    compiler = {name: version for name, version in trial.items() if name == "nncase"}
    others = {name: version for name, version in trial.items() if name != "nncase"}
    nncase, python = usual.nncase, usual.python
    if compiler:
        wanted = [f"nncase=={compiler['nncase']}", *_other_pins(INSTALLATION / "locks" / "nncase.lock", "nncase")]
        nncase = _environment(folder / label(compiler), usual.nncase, wanted)
    if others:
        # onnx2tf asks for one TensorFlow exactly: another can only come after it. pip then warns, and obeys.
        then = _tensorflow(others["tensorflow"]) if "tensorflow" in others else ()
        wanted = [*requirements(others), "setuptools"]
        python = _environment(folder / label(others), usual.python, wanted, then, kpufit=True)
    return Environments(python, nncase)


def requirements(others: Mapping[str, str]) -> list[str]:
    """Return kpufit's own requirements, with other versions of those among them that are tried.

    What they need themselves is left to pip.
    """
    needed = [text for text in metadata.requires("kpufit") or [] if "extra ==" not in text or "tensorflow" in text]
    names = {text: re.split(r"[^\w.-]", text.strip(), maxsplit=1)[0] for text in needed}
    kept = [text.split(";")[0].strip() for text in needed if names[text] not in others]
    return [*kept, *(f"{name}=={version}" for name, version in others.items() if name in names.values())]


def _tensorflow(version: str) -> tuple[str, ...]:
    """TensorFlow, and the old Keras of the same minor version, which each requires of the other."""
    return (f"tensorflow=={version}", f"tf-keras=={'.'.join(version.split('.')[:2])}.*")


def _other_pins(lock: Path, name: str) -> list[str]:
    if not lock.is_file():
        return ["numpy<2"]
    return [line for line in lock.read_text().splitlines() if PINS.match(line) and not line.startswith(f"{name}==")]


def _environment(
    folder: Path, base: Path, wanted: Sequence[str], then: Sequence[str] = (), *, kpufit: bool = False
) -> Path:
    """The interpreter of an environment, made unless it is there whole: what marks it so is written last."""
    python, stamp = folder / "bin" / "python", folder / "installed"
    contents = "\n".join([*wanted, *then]) + "\n"
    if python.exists() and stamp.is_file() and stamp.read_text() == contents:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    write_text(folder.parent / ".gitignore", "*\n")
    _run([base, "-m", "venv", folder], folder.name)
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    _run([*pip, *wanted], folder.name)
    if then:
        _run([*pip, *then], folder.name)
    if kpufit:
        _run([*pip, "--no-deps", "--no-build-isolation", "--editable", INSTALLATION], folder.name)
    write_text(stamp, contents)
    return python


def _run(command: Sequence[str | Path], name: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"its environment could not be made ({error})", where=name, remedy="try again") from error
    if done.returncode:
        raise ToolError(
            "its environment could not be made",
            where=name,
            remedy="`pip index versions TOOL` lists what there is for this Python",
            log=done.stderr,
        )
