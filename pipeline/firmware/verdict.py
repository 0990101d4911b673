"""What the gate is told of a kmodel, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class LayerFacts:
    """One layer of a kmodel.

    Attributes:
        name: of the layer.
        size: bytes in the file.
        weight_loads: portions in which the KPU loads its weights; 0 on the CPU.
    """

    name: str
    size: int
    weight_loads: int = 0


@dataclass(frozen=True)
class KmodelFacts:
    """What was read from a kmodel, or predicted. Sizes are bytes.

    Attributes:
        version: of the format.
        kmodel_bytes: of the file.
        heap_bytes: main memory beside the file.
        kpu_bytes: peak of feature maps in the KPU's memory.
        layers: all of them, with their bytes and weight loads.
        cpu_ops: operators that run on the CPU, in order.
        cpu_convolutions: names of the convolutions among them.
        output: element type of the outputs, "float32" or "uint8"; "" where it is not known.
        header_bytes: of the file, which flash-stream reads at once; 0 where it is not known.
        largest_body_bytes: of its largest layer, which flash-stream holds in memory; 0: the largest of ``layers``.
        latency_ms: predicted; None where it is not known.
    """

    version: int
    kmodel_bytes: int
    heap_bytes: int
    kpu_bytes: int
    layers: tuple[LayerFacts, ...] = ()
    cpu_ops: tuple[str, ...] = ()
    cpu_convolutions: tuple[str, ...] = ()
    output: str = ""
    header_bytes: int = 0
    largest_body_bytes: int = 0
    latency_ms: float | None = None


@dataclass(frozen=True)
class Accuracies:
    """Test accuracies as fractions; None where they were not measured (a kmodel from elsewhere)."""

    network: float | None = None
    kmodel: float | None = None


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes:
        name: what.
        ok: whether it holds.
        message: what was seen against what is allowed, for people; "" where there is nothing to say.
        figures: what was seen and what is allowed, for programs.
        by: layers that weigh most, where it fails: ``{"layer", "bytes"}``.
        remedies: what would mend it, the first the easiest.
    """

    name: str
    ok: bool
    message: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    by: tuple[Mapping[str, Any], ...] = ()
    remedies: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the check as plain values; a check that fails always has ``by`` and ``remedies``."""
        values: dict[str, Any] = {"name": self.name, "ok": self.ok, **self.figures}
        if self.message:
            values["message"] = self.message
        if not self.ok:
            values |= {"by": [dict(entry) for entry in self.by], "remedies": list(self.remedies)}
        return values


@dataclass(frozen=True)
class Verdict:
    """Whether a firmware can run a kmodel as the recipe wants it, and why not."""

    firmware: str
    facts: KmodelFacts
    checks: tuple[Check, ...]

    @property
    def accepted(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(check for check in self.checks if not check.ok)

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain values, the stable form that other programs read."""
        return {
            "accepted": self.accepted,
            "firmware": self.firmware,
            "kmodel_version": self.facts.version,
            "checks": [check.to_json() for check in self.checks],
            "kmodel_bytes": self.facts.kmodel_bytes,
            "heap_bytes": self.facts.heap_bytes,
            "kpu_bytes": self.facts.kpu_bytes,
            "latency_ms": self.facts.latency_ms,
            "cpu_ops": list(self.facts.cpu_ops),
        }
