"""What a report is made of: plain values, as the stages wrote them, and the networks themselves, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kpu.check import Checked


@dataclass(frozen=True)
class Picture:
    """An image that the kmodel gets wrong and the float network got right.

    Attributes:
        pixels: uint8 C×H×W.
        number: its place among the test images, from 0.
        actual, answer: its class, and the kmodel's answer.
    """

    pixels: NDArray[np.uint8]
    number: int
    actual: int
    answer: int


@dataclass(frozen=True)
class RunResults:
    """The results of one run of a recipe. Every part but the name may be missing: the stage has not run yet.

    Attributes:
        recipe: its name.
        metrics: of each stage, by the stage's name: ``metrics.json``.
        reports: of each stage, by the stage's name: ``report.json``.
        verdict: ``verdict.json`` of the gate.
        provenance: what made these results (versions, checksums, seed), in the order in which to show it.
        settings: the recipe's own text.
        before: the network that was trained.
        after: the network as ``replace`` left it, which is compiled.
        pictures: images that the kmodel newly gets wrong.
    """

    recipe: str
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    settings: str = ""
    before: Checked | None = None
    after: Checked | None = None
    pictures: tuple[Picture, ...] = ()

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


def dicts(values: Any) -> Sequence[Mapping[str, Any]]:
    """Return the mappings in a list, whatever was read."""
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list | tuple) else []
