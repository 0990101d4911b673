"""A night: every recipe run, judged, and at once written into the ledger: a killed night has told what it knew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from pipeline.errors import EXIT_ACCEPTED, EXIT_ERROR, EXIT_REJECTED, KpufitError, RecipeError
from pipeline.nightly.execute import Outcome, execute
from pipeline.nightly.judge import judge
from pipeline.nightly.ledger import Entry, Ledger, Verdict, append, read_ledger
from pipeline.nightly.result import read_result
from pipeline.recipe import Nightly
from pipeline.stages.layout import Run, open_run
from pipeline.stages.manifest import refresh_manifests

_FAILURES: tuple[Verdict, ...] = ("failed", "timed out")


@dataclass(frozen=True)
class Plan:
    """What to do in a night.

    Attributes:
        work: the folder to run in: the project's own, or a copy with other tools.
        ledger: the file to compare with and to add to.
        logs: the folder for what DVC and the stages print.
        names: the recipes, in order.
        began: when the night began, UTC.
        commit: git's.
        versions: of the tools.
        tried: tools exchanged for this night.
        variables: to be added to the environment of the stages.
        minutes: time limit of a recipe that names none.
        keep_going: whether the others run after one that is not accepted or failed.
        accept: whether results become the baseline although they are worse.
        trust: whether recipes may run their own Python code.
    """

    work: Path
    ledger: Path
    logs: Path
    names: tuple[str, ...]
    began: str
    commit: str | None
    versions: Mapping[str, str]
    minutes: float
    tried: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    keep_going: bool = True
    accept: bool = False
    trust: bool = False


@dataclass(frozen=True)
class Night:
    """What came of it.

    Attributes:
        plan: what was to do.
        entries: one a recipe that ran.
        left_out: recipes that did not run, because one before them failed.
        ledger: everything known now, these entries included.
    """

    plan: Plan
    entries: tuple[Entry, ...]
    left_out: tuple[str, ...]
    ledger: Ledger

    @property
    def code(self) -> int:
        """0: nothing is worse; 1: a result is worse or rejected; 2: a recipe failed or ran out of time."""
        if any(entry.verdict in _FAILURES for entry in self.entries):
            return EXIT_ERROR
        bad = any(_is_bad(entry) for entry in self.entries)
        return EXIT_REJECTED if bad else EXIT_ACCEPTED


def now() -> str:
    """Return the time as the ledger has it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def chosen(listed: list[str], patterns: list[str]) -> tuple[str, ...]:
    """Return the listed recipes that a name or glob matches, in the order listed; all without patterns.

    Raises:
        RecipeError: a pattern matches none.
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in listed):
            raise RecipeError(
                "matches no recipe of params.yaml", where=pattern, remedy=f"listed are: {', '.join(listed) or 'none'}"
            )
    return tuple(name for name in listed if not patterns or any(fnmatchcase(name, each) for each in patterns))


def run_night(plan: Plan, watch: Callable[[str, str], None] = lambda _recipe, _stage: None) -> Night:
    """Run every recipe of the plan and add one line each to the ledger. The caller holds the nightly's lock.

    Args:
        plan: what to do.
        watch: is told the recipe and stage at work.

    Raises:
        SetupError: DVC is not installed.
        StorageError: the ledger or a log cannot be written.
    """
    entries: list[Entry] = []
    left_out = list(plan.names)
    before = read_ledger(plan.ledger)
    for name in plan.names:
        left_out.remove(name)
        entry = _one(plan, name, before, watch)
        append(plan.ledger, [entry])
        entries.append(entry)
        if not plan.keep_going and (_is_bad(entry) or entry.verdict in _FAILURES):
            break
    ledger = Ledger((*before.entries, *entries), before.notes)
    return Night(plan, tuple(entries), tuple(left_out), ledger)


def _one(plan: Plan, name: str, ledger: Ledger, watch: Callable[[str, str], None]) -> Entry:
    """Run and judge one recipe; whatever is wrong with it alone is its verdict."""
    try:
        refresh_manifests(plan.work, [name])
        run = open_run(plan.work, name)
    except KpufitError as error:
        return _entry(plan, name, "failed", Outcome(EXIT_ERROR, (), "", 0.0), reasons=(_line(error),))
    tolerances = run.recipe.nightly or Nightly()
    done = execute(
        plan.work,
        name,
        plan.logs / f"{name}.log",
        minutes=tolerances.max_minutes or plan.minutes,
        trust=plan.trust,
        variables=plan.variables,
        watch=lambda stage: watch(name, stage),
    )
    if done.code not in (EXIT_ACCEPTED, EXIT_REJECTED):
        return _entry(plan, name, "timed out" if done.code is None else "failed", done, reasons=(done.reason,))
    try:
        return _judged(plan, run, ledger, tolerances, done)
    except KpufitError as error:
        return _entry(plan, name, "failed", done, reasons=(_line(error),))


def _judged(plan: Plan, run: Run, ledger: Ledger, tolerances: Nightly, done: Outcome) -> Entry:
    result, baseline = read_result(run), ledger.baseline(run.name)
    judged = judge(result, baseline, ledger.of(run.name), tolerances)
    taken = judged.verdict in ("new", "better") or (plan.accept and judged.verdict in ("same", "worse"))
    return _entry(
        plan,
        run.name,
        judged.verdict,
        done,
        baseline=taken and not plan.tried,
        against=baseline.time if baseline else None,
        reasons=judged.reasons,
        changes=judged.changes,
        metrics=result.metrics,
        kmodel=result.kmodel,
        test_set=result.test_set,
        wrong=result.wrong,
    )


def _entry(plan: Plan, name: str, verdict: Verdict, done: Outcome, **values: object) -> Entry:
    return Entry.model_validate(
        {
            "night": plan.began,
            "time": now(),
            "recipe": name,
            "commit": plan.commit,
            "versions": dict(plan.versions),
            "tried": dict(plan.tried),
            "verdict": verdict,
            "recomputed": done.recomputed,
            "seconds": round(done.seconds, 1),
            **values,
        }
    )


def _is_bad(entry: Entry) -> bool:
    """Whether the result is one that nobody accepted."""
    return entry.verdict == "rejected" or (entry.verdict == "worse" and not entry.baseline)


def _line(error: KpufitError) -> str:
    return "; ".join(" ".join(line.split()) for line in str(error).splitlines() if line.strip())
