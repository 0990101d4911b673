"""All that a search tried, candidate by candidate, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from pipeline.search.study import ERROR, finished

_RUNG = "rung"


def history(trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
    """Return every candidate that came to an end, in order, each once.

    Those repeated, as their worker died, and those that were one too many are left out.

    Returns:
        A mapping each: ``number``; ``became``, one of evaluated, rejected (before training), stopped (at a rung) and
        failed; ``accuracy`` of the kmodel and ``kmodel_bytes`` at the highest rung reached, or None;
        ``predicted_bytes`` or None; ``over``, by check that fails, how far it is over its limit as a share of it;
        ``params``; ``sizing_s``, the seconds that the prediction took, or None; ``begun_s`` and ``ended_s`` since the
        search began; ``error`` or None.
    """
    evaluated = {trial.number for trial in finished(trials)}
    start = min((trial.datetime_start for trial in trials if trial.datetime_start), default=None)
    rows = []
    for trial in trials:
        became = _became(trial, evaluated)
        if became is None or start is None or trial.datetime_start is None or trial.datetime_complete is None:
            continue
        rows.append(
            {
                "number": trial.number,
                "became": became,
                **_measured(trial.user_attrs),
                "predicted_bytes": trial.user_attrs.get("predicted_bytes"),
                "over": _over(trial),
                "params": dict(trial.params),
                "sizing_s": trial.user_attrs.get("sizing_s"),
                "begun_s": round((trial.datetime_start - start).total_seconds(), 1),
                "ended_s": round((trial.datetime_complete - start).total_seconds(), 1),
                "error": trial.user_attrs.get(ERROR),
            }
        )
    return rows


def _became(trial: FrozenTrial, evaluated: set[int]) -> str | None:
    if trial.number in evaluated:
        return "evaluated"
    if trial.state == TrialState.PRUNED:
        return "stopped" if _RUNG in trial.constraints else "rejected"
    return "failed" if trial.state == TrialState.FAIL and ERROR in trial.user_attrs else None


def _over(trial: FrozenTrial) -> dict[str, float]:
    return {name: round(over, 4) for name, over in trial.constraints.items() if over > 0 and name != _RUNG}


def _measured(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What it came to at the highest rung that it reached."""
    rungs = [name for name in attributes if name.startswith(_RUNG) and name.removeprefix(_RUNG).isdecimal()]
    if not rungs:
        return {"accuracy": None, "kmodel_bytes": None}
    accuracy, size = attributes[max(rungs, key=lambda name: int(name.removeprefix(_RUNG)))]
    return {"accuracy": accuracy, "kmodel_bytes": size}
