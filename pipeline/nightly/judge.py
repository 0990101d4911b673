"""Better, same, worse or rejected: a result against the baseline, by the recipe's tolerances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.nightly.answers import Answers, unpack
from pipeline.nightly.ledger import Change, Entry, Verdict
from pipeline.nightly.noise import sampling_noise, training_noise
from pipeline.recipe import Nightly

ACCURACY = "kmodel_accuracy"
SIZES = {"kmodel_bytes": "kmodel bytes", "heap_bytes": "heap bytes", "latency_ms": "latency"}
"""Figures of which less is better, by their name among the metrics."""

#: 0.90 - 0.89 is a little more than 0.01.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Result:
    """What a recipe's stages made.

    Attributes:
        metrics: accuracy as a fraction, sizes in bytes, latency in milliseconds.
        kmodel: SHA-256 of the file.
        test_set: names the test images.
        wrong: test images that the kmodel got wrong, packed; None where ``evaluate`` did not keep them.
        rejections: why the gate said no; empty when it accepted.
    """

    metrics: dict[str, int | float]
    kmodel: str
    test_set: str
    wrong: str | None
    rejections: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """A verdict, why, and figure by figure."""

    verdict: Verdict
    reasons: tuple[str, ...]
    changes: tuple[Change, ...]


def judge(result: Result, baseline: Entry | None, history: Sequence[Entry], tolerances: Nightly) -> Judged:
    """Return what a result is against the baseline.

    One figure that is worse makes it worse, whatever else got better. A rejected result is compared all the same.

    Args:
        result: of this night.
        baseline: what to compare with, or None.
        history: the recipe's earlier lines, from which the noise of training is taken.
        tolerances: the recipe's.
    """
    changes = () if baseline is None else _changes(result, baseline, history, tolerances)
    if result.rejections:
        return Judged("rejected", result.rejections, changes)
    if baseline is None:
        return Judged("new", ("nothing to compare with yet",), ())
    for verdict in ("worse", "better"):
        found = tuple(change.text for change in changes if change.verdict == verdict)
        if found:
            return Judged(verdict, found, changes)
    if result.kmodel and result.kmodel == baseline.kmodel:
        return Judged("same", ("the kmodel is the same file",), changes)
    return Judged("same", tuple(change.text for change in changes if change.before != change.now), changes)


def _changes(result: Result, baseline: Entry, history: Sequence[Entry], tolerances: Nightly) -> tuple[Change, ...]:
    changes = []
    if ACCURACY in result.metrics and ACCURACY in baseline.metrics:
        changes.append(_accuracy(result, baseline, history, tolerances.accuracy))
    allowed = {
        "kmodel_bytes": tolerances.kmodel_bytes,
        "heap_bytes": tolerances.heap_bytes,
        "latency_ms": tolerances.latency_ms,
    }
    for key, name in SIZES.items():
        if key in result.metrics and key in baseline.metrics:
            given = allowed[key]
            tolerance = training_noise(_earlier(history, key)) if given is None else float(given)
            changes.append(_size(name, baseline.metrics[key], result.metrics[key], tolerance))
    return tuple(changes)


def _accuracy(result: Result, baseline: Entry, history: Sequence[Entry], given: float | None) -> Change:
    before, now = baseline.metrics[ACCURACY], result.metrics[ACCURACY]
    if given is not None:
        tolerance, source = given, "allowed by the recipe"
    else:
        sampling = sampling_noise(
            _answers(baseline.metrics, baseline.test_set, baseline.wrong),
            _answers(result.metrics, result.test_set, result.wrong),
        )
        training = training_noise(_earlier(history, ACCURACY))
        tolerance, source = max((sampling, "noise of the test images"), (training, "noise of earlier nights"))
    difference = 100 * (now - before)
    text = (
        f"accuracy {before:.2%} → {now:.2%} ({difference:+.2f} points; up to {100 * tolerance:.2f} are {source})"
        if difference
        else f"accuracy {now:.2%}, as before"
    )
    return Change(figure="accuracy", before=before, now=now, tolerance=tolerance,
                  verdict=_verdict(now - before, tolerance), text=text)  # fmt: skip


def _size(name: str, before: float, now: float, tolerance: float) -> Change:
    shown = "{:,.3f} ms" if name == "latency" else "{:,.0f}"
    text = (
        f"{name} {shown.format(before)} → {shown.format(now)} ({now - before:+,.4g}; {tolerance:,.4g} allowed)"
        if now != before
        else f"{name} {shown.format(now)}, as before"
    )
    return Change(figure=name, before=before, now=now, tolerance=tolerance,
                  verdict=_verdict(before - now, tolerance), text=text)  # fmt: skip


def _verdict(gain: float, tolerance: float) -> Literal["better", "same", "worse"]:
    if abs(gain) <= tolerance + _ROUNDING:
        return "same"
    return "better" if gain > 0 else "worse"


def _answers(metrics: dict[str, int | float], test_set: str, wrong: str | None) -> Answers:
    images = max(int(metrics.get("test_images", 1)), 1)
    return Answers(metrics[ACCURACY], images, test_set, None if wrong is None else unpack(wrong, images))


def _earlier(history: Sequence[Entry], figure: str) -> list[float]:
    """A figure of results that the gate accepted and that were not worse, each kmodel once."""
    kept = {
        entry.kmodel: entry.metrics[figure]
        for entry in history
        if entry.verdict in ("new", "better", "same") and entry.kmodel and figure in entry.metrics
    }
    return list(kept.values())
