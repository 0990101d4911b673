"""The command from end to end: lock, environments, the night, and what is written about it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.compiler.environment import VARIABLE, find_nncase
from pipeline.errors import SetupError
from pipeline.files import write_json, write_text
from pipeline.nightly.lock import nightly_lock
from pipeline.nightly.night import Night, Plan, chosen, now, run_night
from pipeline.nightly.page import night_page
from pipeline.nightly.side_project import side_project
from pipeline.nightly.summary import summary_json, summary_markdown
from pipeline.nightly.tell import post, run_command
from pipeline.nightly.trial import Environments, label, make_environments, parse_trial
from pipeline.nightly.versions import commit, versions
from pipeline.stages.repro import listed_recipes


@dataclass(frozen=True)
class Wanted:
    """What the user asked for.

    Attributes:
        recipes: names or globs; none means all.
        trial: ``TOOL=VERSION`` each.
        minutes: time limit of a recipe that names none.
        keep_going: whether the others run after one that is not accepted or failed.
        accept: whether results become the baseline although they are worse.
        trust: whether recipes may run their own Python code.
    """

    recipes: tuple[str, ...]
    trial: tuple[str, ...]
    minutes: float
    keep_going: bool
    accept: bool
    trust: bool


def run(root: Path, wanted: Wanted) -> tuple[Night, Path]:
    """Run a night in a project's folder and write its summaries; return it, and their folder.

    Raises:
        AtWorkError: another nightly is at work.
        RecipeError: params.yaml is missing, or a name matches no recipe.
        SetupError: an environment is missing, or ``--with`` names no tool.
        ToolError: another version of a tool could not be installed.
        StorageError: a file cannot be written.
    """
    names = chosen(listed_recipes(root), list(wanted.recipes))
    trial = parse_trial(wanted.trial)
    if trial and wanted.accept:
        raise SetupError("goes not with --with", where="--accept", remedy="a trial is never a baseline: leave one out")
    folder, began = root / "nightly", now()
    with nightly_lock(folder, began), _shown() as watch:
        work, own = root, folder
        variables: dict[str, str] = {}
        environments = Environments(Path(sys.executable), find_nncase(root))
        if trial:
            watch(label(trial), "environment")
            work = own = folder / "with" / label(trial)
            usual = environments
            environments = make_environments(root / ".venv-with", trial, usual)
            python = environments.python if environments.python != usual.python else None
            side_project(root, work, trial, python)
            variables = {VARIABLE: str(environments.nncase.absolute())}
        plan = Plan(
            work=work,
            ledger=folder / "ledger.jsonl",
            logs=own / "logs",
            names=names,
            began=began,
            commit=commit(root),
            versions=versions(environments.python, environments.nncase),
            minutes=wanted.minutes,
            tried=trial,
            variables=variables,
            keep_going=wanted.keep_going,
            accept=wanted.accept,
            trust=wanted.trust,
        )
        night = run_night(plan, watch)
        _write_summaries(own, night)
        return night, own


def _write_summaries(folder: Path, night: Night) -> None:
    """Write ``summary.json``, ``.md`` and ``.html``. Raises StorageError."""
    write_json(folder / "summary.json", summary_json(night))
    write_text(folder / "summary.md", summary_markdown(night))
    write_text(folder / "summary.html", night_page(night))


def send(result: dict[str, Any], *, webhook: str | None, command: str | None) -> None:
    """Tell the result to whoever wants it; the command also when the webhook failed.

    Raises:
        ToolError: one of them did not take it.
    """
    try:
        if webhook:
            post(webhook, result)
    finally:
        if command:
            run_command(command, result)


@contextmanager
def _shown() -> Iterator[Callable[[str, str], None]]:
    """Yield what shows the recipe and stage at work: on a terminal a line that moves, elsewhere nothing."""
    screen = Console(stderr=True)
    if not screen.is_terminal:
        yield lambda _recipe, _stage: None
        return
    with screen.status("nightly") as line:
        yield lambda recipe, stage: line.update(f"{recipe}: {stage}")
