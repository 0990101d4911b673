"""The rows of ``benchmarks.prediction``, its criteria and its table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

FEWEST_NETWORKS: Final = 25
KMODEL_WITHIN: Final = 0.01
HEAP_WITHIN: Final = 0.05
TIMED: Final = "zoo-mobilenet_v1-w24-at-224"
"""MobileNetV1 ×0.75 at 224×224, whose check must be quick."""
CHECK_S: Final = 1.0
TIMES_FASTER: Final = 20
WORST: Final = 10


@dataclass(frozen=True)
class Row:
    """One network: predicted, and what nncase made of it (None where it refused).

    Attributes:
        network: its name.
        fits: whether its maps fit the KPU's memory; None where nncase failed for another reason.
        message: what nncase said when it failed.
        fits_predicted: None where the prediction refused the network.
        kmodel_bytes_predicted: None where the prediction refused the network; as are the next two.
        heap_bytes_predicted: see above.
        kpu_bytes_predicted: see above.
        problem: what the prediction said when it refused.
        check_s: seconds of the prediction.
        compile_s: seconds of nncase's process.
        kmodel_bytes: None where nncase made none; as are the next two.
        heap_bytes: see above.
        kpu_bytes: see above.
        all_kpu: whether the CPU only carries values into and out of the quantised form.
    """

    network: str
    fits: bool | None
    message: str | None
    fits_predicted: bool | None
    kmodel_bytes_predicted: int | None
    heap_bytes_predicted: int | None
    kpu_bytes_predicted: int | None
    problem: str | None
    check_s: float
    compile_s: float
    kmodel_bytes: int | None = None
    heap_bytes: int | None = None
    kpu_bytes: int | None = None
    all_kpu: bool = False

    def with_kmodel(self, kmodel_bytes: int, heap_bytes: int, kpu_bytes: int, *, all_kpu: bool) -> Row:
        """Return the row with what was read from the kmodel."""
        return replace(self, kmodel_bytes=kmodel_bytes, heap_bytes=heap_bytes, kpu_bytes=kpu_bytes, all_kpu=all_kpu)

    @property
    def refused(self) -> bool:
        """Whether nncase failed for another reason than the KPU's memory: nothing to compare with."""
        return self.fits is None

    @property
    def fit_is_right(self) -> bool:
        """Whether "fits the KPU" is predicted as it is."""
        return self.refused or self.fits_predicted == self.fits

    @property
    def kmodel_error(self) -> float:
        """Deviation of the predicted file's size, a fraction of the real one."""
        return _deviation(self.kmodel_bytes_predicted, self.kmodel_bytes)

    @property
    def heap_error(self) -> float:
        """Deviation of the predicted heap, a fraction of the real one."""
        return _deviation(self.heap_bytes_predicted, self.heap_bytes)

    @property
    def kpu_error(self) -> float:
        """Deviation of the predicted KPU memory, a fraction of the real one."""
        return _deviation(self.kpu_bytes_predicted, self.kpu_bytes)

    @property
    def heap_is_right(self) -> bool:
        """Whether the heap is near enough: equal where nothing but the KPU computes."""
        return self.heap_error == 0 if self.all_kpu else abs(self.heap_error) <= HEAP_WITHIN

    def as_json(self) -> dict[str, Any]:
        """Return the row of ``--json``."""
        return {
            "network": self.network,
            "compiles": self.kmodel_bytes is not None,
            "kmodel_bytes": self.kmodel_bytes,
            "kmodel_bytes_predicted": self.kmodel_bytes_predicted,
            "heap_bytes": self.heap_bytes,
            "heap_bytes_predicted": self.heap_bytes_predicted,
            "kpu_bytes": self.kpu_bytes,
            "kpu_bytes_predicted": self.kpu_bytes_predicted,
            "check_s": round(self.check_s, 4),
            "compile_s": self.compile_s,
        }


@dataclass(frozen=True)
class Criterion:
    """One of the things that must hold.

    Attributes:
        text: what, with what was found.
        holds: whether it does.
    """

    text: str
    holds: bool


def criteria(rows: Sequence[Row]) -> list[Criterion]:
    """Return every criterion that the rows allow to judge."""
    made = [row for row in rows if row.kmodel_bytes is not None]
    judged = [row for row in rows if not row.refused]
    found = [
        _all(f"kmodel bytes within {KMODEL_WITHIN:.0%}", made, lambda row: abs(row.kmodel_error) <= KMODEL_WITHIN),
        _all(f"heap within {HEAP_WITHIN:.0%}, exact where all is on the KPU", made, lambda row: row.heap_is_right),
        _all("peak of the KPU's memory exact", made, lambda row: row.kpu_error == 0),
        _all('"does not fit the KPU" as nncase says', judged, lambda row: row.fit_is_right),
    ]
    timed = [row for row in rows if row.network == TIMED]
    if timed:
        check_s, times = timed[0].check_s, timed[0].compile_s / timed[0].check_s
        text = f"{TIMED} in under {CHECK_S:g} s, and {TIMES_FASTER} times faster than nncase"
        holds = check_s < CHECK_S and times >= TIMES_FASTER
        found.append(Criterion(f"{text}: {check_s:.3f} s, {times:.0f} times", holds))
    return found


def failures(rows: Sequence[Row]) -> list[str]:
    """Return the criteria that do not hold."""
    return [criterion.text for criterion in criteria(rows) if not criterion.holds]


def table(rows: Sequence[Row], machine: str, notes: Sequence[str]) -> str:
    """Return the page: verdicts, the worst deviations, every network."""
    judged = [row for row in rows if not row.refused]
    verdicts = [f"- **{'holds' if item.holds else 'FAILS'}**: {item.text}" for item in criteria(rows)]
    if len(judged) < FEWEST_NETWORKS:
        verdicts.append(f"- {len(judged)} networks: fewer than {FEWEST_NETWORKS}")
    lines = [
        "# The prediction against nncase 1.9",
        "",
        f"{len(judged)} whole networks, uint8 in, float32 out. {machine}. Made by `python -m benchmarks.prediction`.",
        "",
        *verdicts,
        *(f"- {note}" for note in notes),
    ]
    worst = _worst(rows)
    if worst:
        head = [
            "",
            "## Worst deviations",
            "",
            "| network | what | predicted | nncase | deviation |",
            "|---|---|---|---|---|",
        ]
        lines += [*head, *worst]
    lines += [
        "",
        "## Every network",
        "",
        "Predicted / nncase's, where they differ; bold: outside the criterion. Heap marked * must be exact.",
        "",
        "| network | fits the KPU | kmodel bytes | heap | KPU memory | check s | compile s |",
        "|---|---|---|---|---|---|---|",
        *(_line(row) for row in judged),
    ]
    refused = [row for row in rows if row.refused]
    if refused:
        lines += [
            "",
            "## Not judged: nncase failed for another reason",
            "",
            "| network | nncase | prediction |",
            "|---|---|---|",
        ]
        lines += [f"| {row.network} | {row.message} | {row.problem or row.kmodel_bytes_predicted} |" for row in refused]
    return "\n".join([*lines, ""])


def _all(text: str, rows: Sequence[Row], holds: Callable[[Row], bool]) -> Criterion:
    wrong = [row.network for row in rows if not holds(row)]
    shown = ", ".join(wrong[:WORST]) + (", …" if len(wrong) > WORST else "")
    return Criterion(
        f"{text}: {len(rows) - len(wrong)} of {len(rows)}" + (f", not {shown}" if wrong else ""), not wrong
    )


def _deviation(predicted: int | None, real: int | None) -> float:
    if real is None:
        return 0.0
    if predicted is None or (real == 0 and predicted != 0):
        return float("inf")
    return (predicted - real) / real if real else 0.0


def _worst(rows: Sequence[Row]) -> list[str]:
    found = []
    for row in rows:
        for what, error, predicted, real in (
            ("kmodel bytes", row.kmodel_error, row.kmodel_bytes_predicted, row.kmodel_bytes),
            ("heap", row.heap_error, row.heap_bytes_predicted, row.heap_bytes),
            ("KPU memory", row.kpu_error, row.kpu_bytes_predicted, row.kpu_bytes),
        ):
            if error:
                found.append(
                    (abs(error), f"| {row.network} | {what} | {_number(predicted)} | {_number(real)} | {error:+.2%} |")
                )
    return [line for _, line in sorted(found, key=lambda pair: -pair[0])[:WORST]]


def _line(row: Row) -> str:
    heap = _pair(row.heap_bytes_predicted, row.heap_bytes, row.heap_is_right) + ("*" if row.all_kpu else "")
    cells = [
        _fit(row),
        _pair(row.kmodel_bytes_predicted, row.kmodel_bytes, abs(row.kmodel_error) <= KMODEL_WITHIN),
        heap,
        _pair(row.kpu_bytes_predicted, row.kpu_bytes, row.kpu_error == 0),
    ]
    return f"| {row.network} | {' | '.join(cells)} | {row.check_s:.3f} | {row.compile_s:.2f} |"


def _fit(row: Row) -> str:
    words = {True: "yes", False: "no", None: f"? ({row.problem})"}
    return words[row.fits] if row.fit_is_right else f"**{words[row.fits_predicted]} / {words[row.fits]}**"


def _pair(predicted: int | None, real: int | None, right: bool) -> str:
    if real is None:
        return "–"
    if predicted == real:
        return _number(real)
    text = f"{_number(predicted)} / {_number(real)}"
    return text if right else f"**{text}**"


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
