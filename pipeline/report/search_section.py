"""The search on the page: its counts, its front, what each group bears and which choices mattered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.report.choices_plot import choices_plot
from pipeline.report.plots import Plot
from pipeline.report.search_plots import front_plot, history_plot, importance_plot
from pipeline.report.search_results import Searched, choice_name, searched_of
from pipeline.report.tables import Column, Table
from pipeline.report.text import ABSENT, count, decimal, percent, words

_KEEP = "keep."
_AREA = (
    "Area: under the front, accuracy above chance times the share of the budget that is left; 1 would be no mistakes "
    "in no bytes."
)


@dataclass(frozen=True)
class SearchSection:
    """What the page shows of a search.

    Attributes:
        figures: what became of the candidates.
        told: sentences about them.
        front, history, importance, choices: plots; None where there is nothing to see.
        table: the front.
        chosen: the choices of each candidate of it.
        area: what the area in ``history`` is, or "".
        mattered: the importance of every choice.
        sensitivity: of each group.
        failures: trials that failed, and why.
    """

    figures: list[tuple[str, str]]
    told: list[str]
    front: Plot
    history: Plot
    importance: Plot | None
    choices: Plot | None
    table: Table
    chosen: Table
    area: str
    mattered: Table | None
    sensitivity: Table | None
    failures: list[tuple[int, str]]


def search_section(report: Mapping[str, Any]) -> SearchSection | None:
    """Return what ``report.json`` of the search has to show; None where there was no search."""
    found = searched_of(report)
    if found is None:
        return None
    return SearchSection(
        figures=_figures(found),
        told=_told(found),
        front=front_plot(found),
        history=history_plot(found),
        importance=importance_plot(found),
        choices=choices_plot(found),
        table=_front_table(found),
        chosen=_choices_table(found),
        area=_AREA if "kmodel_bytes" in found.objectives else "",
        mattered=_mattered(found),
        sensitivity=_sensitivity(found),
        failures=[(each.number, each.error) for each in found.tried if each.became == "failed"],
    )


def _figures(found: Searched) -> list[tuple[str, str]]:
    names = {
        "evaluated": "evaluated fully",
        "rejected": "rejected before training",
        "stopped": "stopped early",
        "failed": "failed",
        "repeated": "repeated",
    }
    figures = [(name, count(found.counts[key])) for key, name in names.items() if key in found.counts]
    if found.sizing_ms is not None:
        figures.append(("to size one, in the median", f"{decimal(found.sizing_ms)} ms"))
    return figures


def _told(found: Searched) -> list[str]:
    wanted = (
        "for its accuracy, within the budget"
        if found.min_accuracy is None
        else f"the smallest of at least {percent(found.min_accuracy)}, or for its accuracy where none is"
    )
    told = [f"Trial {found.chosen} was chosen: {wanted}. Accuracy is the kmodel's on validation images."]
    reasons = Counter(check for each in found.which("rejected") for check in each.over)
    if reasons:
        each = ", ".join(f"{name} ({count(many)})" for name, many in reasons.most_common())
        told.append(f"What was not trained would have failed these checks: {each}.")
    if not found.importances:
        told.append("Too few candidates were evaluated to say which choices mattered.")
    told.append("`kpufit search RECIPE --apply TRIAL` makes a recipe of any other trial that was evaluated.")
    return told


def _front_table(found: Searched) -> Table:
    rows = tuple(
        (
            _trial(found, number),
            percent(found.points[number].get("accuracy")),
            count(found.points[number].get("kmodel_bytes")),
            count(found.points[number].get("heap_bytes")),
            decimal(found.points[number].get("latency_ms")),
        )
        for number in found.front
    )
    headings = ("accuracy", "kmodel bytes", "heap bytes", "KPU ms, predicted")
    columns = (Column("trial"), *(Column(name, True) for name in headings))
    return Table("The front: no candidate is better in one thing and worse in none", columns, rows)


def _choices_table(found: Searched) -> Table:
    columns = (Column("trial"), Column("channels kept", sentence=True), Column("the rest", sentence=True))
    rows = []
    for number in found.front:
        params: Mapping[str, Any] = found.points[number].get("params") or {}
        kept = [
            f"{name.removeprefix(_KEEP)} {words(value)}" for name, value in params.items() if name.startswith(_KEEP)
        ]
        others = [f"{choice_name(name)} {words(value)}" for name, value in params.items() if not name.startswith(_KEEP)]
        rows.append((_trial(found, number), ", ".join(kept) or ABSENT, ", ".join(others) or ABSENT))
    return Table("What was chosen for each candidate of the front", columns, tuple(rows))


def _trial(found: Searched, number: int) -> str:
    return f"{number}, chosen" if number == found.chosen else str(number)


def _mattered(found: Searched) -> Table | None:
    if not found.importances:
        return None
    names = {"front": "to be on the front", "accuracy": "for accuracy"}
    targets = [name for name in names if name in found.importances]
    rows = tuple(
        (choice_name(choice), *(percent(found.importances[target].get(choice)) for target in targets))
        for choice in found.importances[targets[0]]
    )
    columns = (Column("choice"), *(Column(names[target], True) for target in targets))
    note = "How much the spread of a choice among the best differs from that among all (PED-ANOVA), as a share."
    return Table("Which choices mattered", columns, rows, note=note)


def _sensitivity(found: Searched) -> Table | None:
    shares = [(place, share) for place, share in enumerate(found.shares) if share > 0]
    if not found.sensitivity or not shares:
        return None
    rises = {
        group: [losses[place] if place < len(losses) else None for place, _ in shares]
        for group, losses in found.sensitivity.items()
    }
    last = {group: values[-1] or 0.0 for group, values in rises.items()}
    most = max(last.values()) or 1.0
    order = sorted(rises, key=lambda group: -last[group])
    columns = (Column("group"), *(Column(f"{100 * share:.0f} % gone", True) for _, share in shares))
    note = "How much the cross-entropy on validation images rises as each group alone is pruned, nothing learnt again."
    return Table(
        "What each group bears",
        columns,
        tuple((group, *(f"{value:.3f}" if value is not None else ABSENT for value in rises[group])) for group in order),
        tuple(last[group] / most for group in order),
        note,
    )
