"""What a search reported, read into types; whatever has another form is left out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.results import dicts

_NAMES = {
    "epochs": "epochs of fine-tuning",
    "lr": "learning rate",
    "calibration_images": "calibration images",
    "method": "quantisation",
    "qat_epochs": "epochs of QAT",
}
_KEEP, _RULE = "keep.", "rule."


@dataclass(frozen=True)
class Tried:
    """A candidate.

    Attributes:
        number: of its trial.
        became: evaluated, rejected, stopped or failed.
        accuracy: of its kmodel on validation images, at the highest rung that it reached.
        size: bytes of its kmodel, as predicted where none was made; 0 where not even that is known.
        over: names of the checks that it would fail.
        params: what was chosen for it.
        sizing_s: seconds that its prediction took.
        error: why it failed.
    """

    number: int
    became: str
    accuracy: float | None
    size: int
    over: tuple[str, ...]
    params: Mapping[str, Any]
    sizing_s: float | None
    error: str


@dataclass(frozen=True)
class Axis:
    """What there is to choose from: names, or all from ``low`` to ``high``, spread over them or their logarithm."""

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False


@dataclass(frozen=True)
class Searched:
    """A search.

    Attributes:
        tried: all candidates that came to an end.
        front: numbers of those that no other beats, smallest first.
        chosen: number of the one that the stages went on with.
        points: heap, time and the rest of those evaluated, by number.
        counts: what became of them, by name.
        budget: bytes that the kmodel may have.
        min_accuracy: the smallest of this accuracy was asked for, or None.
        objectives: by name.
        chance: accuracy of guessing.
        sensitivity: for each group how much the loss rises, as shares of its channels go.
        shares: those shares.
        importances: of the choices, for "accuracy" and "front"; empty where nothing can be said.
        space: what there was to choose from, by the choice's name.
    """

    tried: tuple[Tried, ...]
    front: tuple[int, ...]
    chosen: int
    points: Mapping[int, Mapping[str, Any]]
    counts: Mapping[str, int]
    budget: int
    min_accuracy: float | None
    objectives: tuple[str, ...]
    chance: float
    sensitivity: Mapping[str, Sequence[float]]
    shares: tuple[float, ...]
    importances: Mapping[str, Mapping[str, float]]
    space: Mapping[str, Axis]

    def which(self, became: str) -> tuple[Tried, ...]:
        """Return the candidates that became so, of a known size."""
        return tuple(each for each in self.tried if each.became == became and each.size)

    @property
    def evaluated(self) -> tuple[Tried, ...]:
        """Candidates with a kmodel at full effort, in order."""
        return tuple(each for each in self.which("evaluated") if each.accuracy is not None)

    @property
    def sizing_ms(self) -> float | None:
        """Milliseconds that sizing a candidate took, in the median."""
        known = [each.sizing_s for each in self.tried if each.sizing_s is not None]
        return 1000 * statistics.median(known) if known else None


def searched_of(report: Mapping[str, Any]) -> Searched | None:
    """Return what ``report.json`` of the search tells; None where there was no search."""
    tried = tuple(_tried(row) for row in dicts(report.get("trials")) if isinstance(row.get("number"), int))
    points = {point["number"]: point for point in dicts(report.get("points")) if isinstance(point.get("number"), int)}
    evaluated = {
        each.number for each in tried if each.became == "evaluated" and each.size and each.accuracy is not None
    }
    chosen, budget = report.get("chosen"), report.get("budget_bytes")
    if not isinstance(chosen, int) or chosen not in evaluated or not isinstance(budget, int) or budget < 1:
        return None
    front = tuple(number for number in report.get("front") or () if number in evaluated)
    return Searched(
        tried=tried,
        front=front or (chosen,),
        chosen=chosen,
        points=points,
        counts={name: value for name, value in _mapping(report.get("counts")).items() if isinstance(value, int)},
        budget=budget,
        min_accuracy=_number(report.get("min_accuracy")),
        objectives=tuple(report.get("objectives") or ()),
        chance=_number(report.get("chance")) or 0.0,
        sensitivity=_mapping(report.get("sensitivity")),
        shares=tuple(report.get("sensitivity_shares") or ()),
        importances=_mapping(report.get("importances")),
        space={name: _axis(_mapping(each)) for name, each in _mapping(report.get("space")).items()},
    )


def areas(points: Sequence[Tried], budget: int, chance: float) -> tuple[float, ...]:
    """Return after each candidate the area under all so far (``area_under``)."""
    found = [(each.size, each.accuracy or 0.0) for each in points]
    return tuple(area_under(found[:count], budget, chance) for count in range(1, len(found) + 1))


def area_under(points: Sequence[tuple[int, float]], budget: int, chance: float) -> float:
    """Return the hypervolume, 0 to 1, of points of bytes and accuracy: accuracy above chance times the budget left."""
    area, best = 0.0, chance
    for size, accuracy in sorted(points):
        if accuracy > best and size < budget:
            area += (accuracy - best) * (1 - size / budget)
            best = accuracy
    return area / (1 - chance)


def choice_name(name: str) -> str:
    """Return what is chosen, in words, e.g. "channels of conv2"."""
    if name.startswith(_KEEP):
        return f"channels of {name.removeprefix(_KEEP)}"
    if name.startswith(_RULE):
        return f"rule for {name.removeprefix(_RULE)}"
    return _NAMES.get(name, name)


def _tried(row: Mapping[str, Any]) -> Tried:
    return Tried(
        number=row["number"],
        became=str(row.get("became")),
        accuracy=_number(row.get("accuracy")),
        size=int(_number(row.get("kmodel_bytes")) or _number(row.get("predicted_bytes")) or 0),
        over=tuple(_mapping(row.get("over"))),
        params=_mapping(row.get("params")),
        sizing_s=_number(row.get("sizing_s")),
        error=str(row.get("error") or ""),
    )


def _axis(found: Mapping[str, Any]) -> Axis:
    low, high = _number(found.get("low")), _number(found.get("high"))
    if low is None or high is None:
        return Axis(choices=tuple(found.get("choices") or ()))
    return Axis(low=low, high=high, log=bool(found.get("log")) and low > 0)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
