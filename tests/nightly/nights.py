"""Nights that never were, for what is written about one."""

from __future__ import annotations

from pathlib import Path

from pipeline.nightly.ledger import Change, Entry, Ledger
from pipeline.nightly.night import Night, Plan


def plan(**values: object) -> Plan:
    usual = {
        "work": Path("."), "ledger": Path("ledger.jsonl"), "logs": Path("logs"), "names": ("good", "bad", "big"),
        "began": "2026-01-09T02:17:00+00:00", "commit": "abc", "versions": {"nncase": "1.9"}, "minutes": 1.0,
    }  # fmt: skip
    return Plan(**{**usual, **values})


def entry(recipe: str, verdict: str, day: int = 9, **values: object) -> Entry:
    time = f"2026-01-{day:02}T02:20:00+00:00"
    return Entry.model_validate({"night": time, "time": time, "recipe": recipe, "verdict": verdict, **values})


def metrics(accuracy: float, size: int) -> dict[str, float]:
    return {"kmodel_accuracy": accuracy, "kmodel_bytes": size, "heap_bytes": 320, "latency_ms": 0.5, "test_images": 200}


def night(*entries: Entry, notes: tuple[str, ...] = (), left_out: tuple[str, ...] = (), **plan_values: object) -> Night:
    earlier = [
        entry(name, "same" if day > 1 else "new", day, metrics=metrics(0.9 + day / 1000, 5000))
        for day in range(1, 8)
        for name in ("good", "bad", "big")
    ]
    return Night(plan(**plan_values), entries, left_out, Ledger((*earlier, *entries), notes))


def bad_night() -> Night:
    """One recipe the same, one worse, one rejected, with names and words that a page must not take for markup."""
    worse = "accuracy 90.00% → 71.00% (-19.00 points; up to 3.00 are noise of the test images)"
    return night(
        entry("good", "same", metrics=metrics(0.907, 5000), reasons=("the kmodel is the same file",)),
        entry(
            "bad", "worse", metrics=metrics(0.71, 5000), reasons=(worse,), against="2026-01-01T02:20:00+00:00",
            changes=(Change(figure="accuracy", before=0.9, now=0.71, tolerance=0.03, verdict="worse", text=worse),),
            recomputed=("train", "prune"),
        ),
        entry("big", "rejected", metrics=metrics(0.9, 9000), reasons=("model bytes: <b>9,000</b> | of 8,000",)),
        notes=("ledger.jsonl: line 3 is torn or not of this ledger, and was left out",),
    )  # fmt: skip
