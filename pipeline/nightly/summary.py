"""A night as JSON, as Markdown, and as a table on the screen."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from pipeline.nightly.ledger import Entry
from pipeline.nightly.night import Night
from pipeline.report.text import ABSENT, count, percent


def summary_json(night: Night) -> dict[str, Any]:
    """Return all of it but the packed answers; this is what a webhook is sent.

    Accuracies are fractions, sizes bytes, latencies milliseconds. Each recipe has its accepted results so far as
    ``trend``, oldest first.
    """
    return {
        "night": night.plan.began,
        "exit_code": night.code,
        "commit": night.plan.commit,
        "versions": dict(night.plan.versions),
        "tried": dict(night.plan.tried),
        "counts": counts(night),
        "recipes": [
            {
                **entry.model_dump(mode="json", exclude={"wrong", "night", "commit", "versions", "tried", "recipe"}),
                "recipe": entry.recipe,
                "trend": [
                    {"time": point.time, "verdict": point.verdict, **point.metrics} for point in trend(night, entry)
                ],
            }
            for entry in night.entries
        ],
        "left_out": list(night.left_out),
        "notes": list(night.ledger.notes),
    }


def counts(night: Night) -> dict[str, int]:
    """Return how many recipes got each verdict that one got."""
    found = [entry.verdict for entry in night.entries]
    return {verdict: found.count(verdict) for verdict in dict.fromkeys(found)}


def headline(night: Night) -> str:
    """Return the night in one line, e.g. "1 worse, 2 same"."""
    said = ", ".join(f"{number} {verdict}" for verdict, number in counts(night).items()) or "no recipe"
    return f"{said}; {len(night.left_out)} not run" if night.left_out else said


def when(time: str) -> str:
    """Return a time of the ledger for people, e.g. "2026-01-09 02:17 UTC"."""
    return f"{time[:16].replace('T', ' ')} UTC"


def tried(night: Night) -> str:
    """Return the exchanged tools, e.g. "nncase 1.8.0.20220929", or ""."""
    return ", ".join(f"{name} {version}" for name, version in night.plan.tried.items())


#: Nights that a trend shows.
_LONGEST = 200


def trend(night: Night, entry: Entry) -> tuple[Entry, ...]:
    """Return the recipe's results up to this one, oldest first; the last is this one, whatever it was made with."""
    earlier = [each for each in night.ledger.of(entry.recipe) if each.metrics and each != entry]
    return tuple([*earlier, *([entry] if entry.metrics else [])][-_LONGEST:])


def columns(entry: Entry) -> tuple[str, ...]:
    """Return a recipe's row: name, verdict, accuracy, kmodel bytes, heap bytes, latency, what ran."""
    latency = entry.metrics.get("latency_ms")
    return (
        entry.recipe,
        f"{entry.verdict}, now the baseline"
        if entry.baseline and entry.verdict in ("same", "worse")
        else entry.verdict,
        percent(entry.metrics.get("kmodel_accuracy")),
        count(entry.metrics.get("kmodel_bytes")),
        count(entry.metrics.get("heap_bytes")),
        ABSENT if latency is None else f"{latency:.3f} ms",
        ", ".join(entry.recomputed) or "nothing",
        f"{entry.seconds:.0f} s",
    )


COLUMNS = ("recipe", "verdict", "test accuracy", "kmodel bytes", "heap bytes", "KPU time", "recomputed", "took")


def summary_markdown(night: Night) -> str:
    """Return the night as Markdown: a table, and under it why."""
    lines = [f"# Nightly of {when(night.plan.began)}: {headline(night)}", ""]
    if night.plan.tried:
        lines += [f"Tried with {tried(night)}; nothing of it becomes a baseline.", ""]
    lines += [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(_cell(text) for text in columns(entry))} |" for entry in night.entries]
    for entry in night.entries:
        lines += ["", f"**{_cell(entry.recipe)}: {entry.verdict}**{_against(entry)}", ""]
        lines += [f"- {_cell(reason)}" for reason in entry.reasons]
    if night.left_out:
        lines += ["", f"Not run, because one before failed: {_cell(', '.join(night.left_out))}."]
    lines += ["", *(f"> {_cell(note)}" for note in night.ledger.notes)] if night.ledger.notes else []
    made = ", ".join(f"{name} {version}" for name, version in night.plan.versions.items())
    return "\n".join([*lines, "", f"Commit {night.plan.commit or 'not under git'}; {made}.", ""])


def summary_table(night: Night) -> Table:
    """Return the night as a table for the screen."""
    table = Table(title=f"nightly of {when(night.plan.began)}", title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name not in ("recipe", "verdict", "recomputed") else "left")
    for entry in night.entries:
        table.add_row(*columns(entry))
    return table


def reasons(night: Night) -> list[str]:
    """Return why each recipe got its verdict, for the screen."""
    lines = [f"{entry.recipe}: {entry.verdict}: {reason}" for entry in night.entries for reason in entry.reasons]
    return [*lines, *(f"note: {note}" for note in night.ledger.notes)]


def _against(entry: Entry) -> str:
    return f", against the baseline of {when(entry.against)}" if entry.against else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
