"""What a search reports, of a search that never was."""

from __future__ import annotations

from typing import Any

import numpy as np

SHARES = [0.0, 0.25, 0.5, 0.75]
BUDGET = 61_440


def search_report(evaluated: int = 24, rejected: int = 30, stopped: int = 20, groups: int = 4) -> dict[str, Any]:
    """Random candidates: more bytes are more accurate, with noise; the first failed, whatever else there is."""
    random = np.random.default_rng(0)
    names = [f"conv{number}" for number in range(groups)]
    space = {f"keep.{name}": {"low": 4, "high": 64, "log": False, "step": 1} for name in names}
    space |= {
        "rule.conv0": {"choices": ["shift-kernel", "large-kernel"]},
        "lr": {"low": 0.003, "high": 0.03, "log": True, "step": None},
        "method": {"choices": ["ptq", "qat"]},
        "qat_epochs": {"low": 1, "high": 2, "log": False, "step": 1},
    }
    became = [
        "failed",
        *random.permutation(["rejected"] * rejected + ["stopped"] * stopped + ["evaluated"] * evaluated),
    ]
    trials = [_trial(number, str(each), space, random) for number, each in enumerate(became)]
    points = [
        {"heap_bytes": 1280, "latency_ms": None, "kmodel": "id", **{key: trial[key] for key in _POINT}}
        for trial in trials
        if trial["became"] == "evaluated"
    ]
    front = [
        point["number"]
        for point in sorted(points, key=lambda each: each["kmodel_bytes"])
        if all(
            other["accuracy"] < point["accuracy"] or other["kmodel_bytes"] > point["kmodel_bytes"]
            for other in points
            if other is not point
        )
    ]
    shares = {name: 1 / len(space) for name in space}
    return {
        "chosen": front[-1],
        "min_accuracy": None,
        "objectives": ["accuracy", "kmodel_bytes"],
        "budget_bytes": BUDGET,
        "counts": {"evaluated": evaluated, "rejected": rejected, "stopped": stopped, "failed": 1, "repeated": 2},
        "front": front,
        "points": points,
        "chance": 0.1,
        "sensitivity": {name: [0.0, 0.01, 0.1 * number, 1.0 + number] for number, name in enumerate(names)},
        "sensitivity_shares": SHARES,
        "importances": {"accuracy": shares, "front": shares},
        "space": space,
        "trials": trials,
    }


_POINT = ("number", "accuracy", "kmodel_bytes", "params")


def _trial(number: int, became: str, space: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
    params = {name: _choose(each, random) for name, each in space.items()}
    if params["method"] == "ptq":
        del params["qat_epochs"]
    size = int(random.integers(10_000, BUDGET))
    accuracy = 0.7 + 0.2 * size / BUDGET + random.normal(0, 0.02) - 0.05 * (became == "stopped")
    measured = became in ("evaluated", "stopped")
    rejected = became == "rejected"
    return {
        "number": number,
        "became": became,
        "accuracy": accuracy if measured else None,
        "kmodel_bytes": size if measured else None,
        "predicted_bytes": size + BUDGET * rejected,
        "over": {"model bytes": size / BUDGET} if rejected else {},
        "params": params,
        "sizing_s": 0.03,
        "begun_s": 10.0 * number,
        "ended_s": 10.0 * number + 15,
        "error": "nncase <refused> it" if became == "failed" else None,
    }


def _choose(axis: dict[str, Any], random: np.random.Generator) -> Any:
    if "choices" in axis:
        return str(random.choice(axis["choices"]))
    if isinstance(axis["low"], int):
        return int(random.integers(axis["low"], axis["high"] + 1))
    return float(random.uniform(axis["low"], axis["high"]))
