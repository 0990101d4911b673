"""What a report is made of: plain values, as the stages wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RunResults:
    """The results of one run of a recipe. Every part but the name may be missing: the stage has not run yet.

    Attributes:
        recipe: its name.
        metrics: of each stage, by the stage's name: ``metrics.json``.
        reports: of each stage, by the stage's name: ``report.json``.
        verdict: ``verdict.json`` of the gate.
        provenance: what made these results (versions, checksums, seed), in the order in which to show it.
    """

    recipe: str
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    def metric(self, stage: str, name: str) -> float | None:
        """Return one number of a stage, or None where there is none."""
        value = self.metrics.get(stage, {}).get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def report(self, stage: str) -> Mapping[str, Any]:
        """Return what a stage reported, empty where it has not."""
        return self.reports.get(stage, {})

    def check(self, name: str) -> Mapping[str, Any]:
        """Return one check of the verdict, empty where there is none."""
        checks = (self.verdict or {}).get("checks", [])
        return next((check for check in checks if check.get("name") == name), {})
