"""What a search found: the Pareto front, the point chosen from it, and what became of everything that was tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from pipeline.search.study import ERROR, SURPLUS, finished


@dataclass(frozen=True)
class Point:
    """A candidate that was evaluated fully.

    Attributes:
        number: of its trial.
        accuracy: of its kmodel on validation images, 0 to 1.
        kmodel_bytes: of the file.
        heap_bytes: main memory beside it.
        latency_ms: predicted; None where it is not known.
        params: its place in the space.
        kmodel: identifier of the file in the artifact store.
    """

    number: int
    accuracy: float
    kmodel_bytes: int
    heap_bytes: int
    latency_ms: float | None
    params: Mapping[str, Any]
    kmodel: str


@dataclass(frozen=True)
class Counts:
    """What became of the candidates.

    Attributes:
        evaluated: fully.
        rejected: before training, as they do not fit.
        stopped: at a lower rung.
        failed: in a tool, or in training that diverged.
        repeated: as a worker died or stopped on them; each is counted once above, too.
    """

    evaluated: int
    rejected: int
    stopped: int
    failed: int
    repeated: int


def points_of(trials: Sequence[FrozenTrial]) -> tuple[Point, ...]:
    """Return the candidates evaluated fully, in order."""
    return tuple(
        Point(
            trial.number,
            trial.user_attrs["accuracy"],
            trial.user_attrs["kmodel_bytes"],
            trial.user_attrs["heap_bytes"],
            trial.user_attrs["latency_ms"],
            trial.params,
            trial.user_attrs["kmodel"],
        )
        for trial in finished(trials)
    )


def front_of(points: Sequence[Point], objectives: Sequence[str]) -> tuple[Point, ...]:
    """Return the points that no other beats in one objective without losing in another, smallest first.

    Of equals the first counts.
    """
    kept: list[Point] = []
    for point in points:
        if not any(_beats(other, point, objectives) for other in points) and not any(
            _costs(other, objectives) == _costs(point, objectives) for other in kept
        ):
            kept.append(point)
    return tuple(sorted(kept, key=lambda point: (point.kmodel_bytes, -point.accuracy)))


def choose(points: Sequence[Point], min_accuracy: float | None, images: int) -> Point:
    """Return the smallest point of at least ``min_accuracy``, or else the best bet on the highest accuracy.

    The most accurate of many has had luck: on a few hundred images those within a standard error of it (binomial, the
    root of p·(1 − p)/n) cannot be told from it. Of these the one of most bytes is taken, as all fit the firmware and
    more channels give more accuracy on average; then the more accurate one. Where no point reaches ``min_accuracy``, it
    is chosen as if none were asked for, and the gate decides.

    Args:
        points: at least one; all fit.
        min_accuracy: on validation images, 0 to 1.
        images: how many validation images there are.
    """
    enough = [point for point in points if min_accuracy is not None and point.accuracy >= min_accuracy]
    if enough:
        return min(enough, key=lambda point: (point.kmodel_bytes, -point.accuracy, point.number))
    best = max(point.accuracy for point in points)
    error = math.sqrt(best * (1 - best) / images)
    alike = [point for point in points if point.accuracy >= best - error]
    return min(alike, key=lambda point: (-point.kmodel_bytes, -point.accuracy, point.number))


def count(trials: Sequence[FrozenTrial]) -> Counts:
    """Return what became of all candidates."""
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    stopped = sum("rung" in trial.constraints for trial in pruned)
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    return Counts(
        evaluated=len(finished(trials)),
        rejected=len(pruned) - stopped,
        stopped=stopped,
        failed=sum(ERROR in trial.user_attrs for trial in failed),
        repeated=sum(not {ERROR, SURPLUS} & set(trial.user_attrs) for trial in failed),
    )


def point_json(point: Point) -> dict[str, Any]:
    """Return a point as plain values."""
    return {**asdict(point), "params": dict(point.params)}


def _costs(point: Point, objectives: Sequence[str]) -> tuple[float, ...]:
    """Return what is to be small, for each objective."""
    values = {
        "accuracy": -point.accuracy,
        "kmodel_bytes": float(point.kmodel_bytes),
        "heap_bytes": float(point.heap_bytes),
        "latency": point.latency_ms or 0.0,
    }
    return tuple(values[name] for name in objectives)


def _beats(other: Point, point: Point, objectives: Sequence[str]) -> bool:
    theirs, mine = _costs(other, objectives), _costs(point, objectives)
    return theirs != mine and all(a <= b for a, b in zip(theirs, mine, strict=True))
