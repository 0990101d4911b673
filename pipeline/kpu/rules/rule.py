"""What a rule of the KPU is, and what it finds."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from pipeline.kpu.layers import Layer, Network
from pipeline.kpu.prediction import LayerPrediction, Prediction

Severity = Literal["wrong-numbers", "does-not-compile", "may-not-run", "cpu", "memory", "accuracy"]

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the worst on; may-not-run is what the calibration images decide."""


@dataclass(frozen=True)
class Site:
    """A layer in its network, as a rule sees it.

    Attributes:
        layer: the layer.
        network: the whole network.
        predicted: what nncase makes of the layer.
        prediction: what it makes of the network.
        raw: whether nncase gets the network as it is; else as kpufit prepares it (BatchNorm folded, ReLU as a clamp).
    """

    layer: Layer
    network: Network
    predicted: LayerPrediction
    prediction: Prediction
    raw: bool


Check = Callable[[Site], str | None]


@dataclass(frozen=True)
class Rule:
    """One limit or trap.

    Attributes:
        name: what findings and the documentation call it; the module's name with hyphens.
        severity: of what it finds.
        limit: what holds, in a few words.
        why: what happens otherwise: the docstring of ``check``.
        replacement: what would mend it; "" where nothing is known.
        source: where it is known from.
        check: returns what was seen where the rule is broken, else None.
    """

    name: str
    severity: Severity
    limit: str
    why: str
    replacement: str
    source: str
    check: Check


@dataclass(frozen=True)
class Finding:
    """A rule that a layer breaks.

    Attributes:
        layer: its name.
        op: its ONNX operator.
        rule: the rule's name.
        severity: the rule's.
        seen: what was seen.
        limit: what holds.
        why: what happens.
        replacement: what would mend it.
        kept: why `kpufit replace` left the layer as it is, where it has been there.
    """

    layer: str
    op: str
    rule: str
    severity: Severity
    seen: str
    limit: str
    why: str
    replacement: str
    kept: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the finding as plain values; ``kept`` only where there is such a reason."""
        values: dict[str, str] = asdict(self)
        return values if self.kept else {key: value for key, value in values.items() if key != "kept"}


def rule(*, severity: Severity, limit: str, source: str, replacement: str = "") -> Callable[[Check], Rule]:
    """Make a rule of a function, whose docstring is the message that users read."""

    def make(check: Check) -> Rule:
        name = check.__module__.rsplit(".", 1)[-1].replace("_", "-")
        why = " ".join((inspect.getdoc(check) or "").split())
        return Rule(name, severity, limit, why, replacement, source, check)

    return make
