"""What the replacement of a network's layers came to, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import fx

from pipeline.replacement.rewrite import Step


@dataclass(frozen=True)
class Tried:
    """One rule asked about one layer.

    Attributes:
        rule: its name.
        kind: exact or learned.
        taken: whether it was applied.
        why: what was found, or why the rule does not apply.
    """

    rule: str
    kind: str
    taken: bool
    why: str


@dataclass(frozen=True)
class Layer:
    """One layer of the network before, and what became of it.

    Attributes:
        name: the layer.
        op: its type.
        tried: the rules that concern the type, up to the last that was applied.
        becomes: the layers in its place, empty where it stayed.
        because: why it was replaced (what the KPU would do otherwise, and the source), or "".
        measured: numbers of the replacement. ``error_initial`` and ``error_fitted``: mean square error over the
            variance of the layer's outputs, before and after regression. ``error`` and ``error_border`` (outermost
            pixels): root of the mean square error over the outputs' standard deviation, of an exact rule that is not
            exact everywhere. ``accuracy_before``, ``accuracy_after``: on validation images, before and after this
            replacement, distillation still to come.
    """

    name: str
    op: str
    tried: tuple[Tried, ...]
    becomes: tuple[str, ...] = ()
    because: str = ""
    measured: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Accuracy:
    """On validation images, as fractions; None where a step was not needed.

    Attributes:
        before: of the network given.
        after_exact: with the exact rules applied.
        after_regression: with all rules applied, learned ones fitted layer by layer.
        after_distillation: after the last round of distillation.
        after: of the network returned, the best of these from after_regression on.
    """

    before: float
    after_exact: float
    after_regression: float | None
    after_distillation: float | None
    after: float


@dataclass(frozen=True)
class Report:
    """The whole.

    Attributes:
        layers: every layer that a rule concerns.
        accuracy: at every step.
        max_drop: what a replacement may cost.
        accepted: whether accuracy.before − accuracy.after ≤ max_drop.
        distil_steps: steps of distillation done.
        logit_error: largest difference of a logit that the exact rules made, over the standard deviation of the logits.
        notes: what a person should know, sentence by sentence.
    """

    layers: tuple[Layer, ...]
    accuracy: Accuracy
    max_drop: float
    accepted: bool
    distil_steps: int
    logit_error: float
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        return asdict(self)


def layers_of(
    network: fx.GraphModule, steps: Sequence[Step], measured: dict[str, dict[str, float]]
) -> tuple[Layer, ...]:
    """Return the layers of ``network`` (before) that some rule was asked about, in the order of the graph."""
    layers = []
    for node in network.graph.nodes:
        name = str(node.target)
        own = [step for step in steps if step.layer == name]
        if node.op != "call_module" or not own:
            continue
        taken = [step for step in own if step.taken]
        if taken:  # what was asked about its replacement says nothing about the layer
            own = own[: own.index(taken[-1]) + 1]
        layers.append(
            Layer(
                name,
                type(network.get_submodule(name)).__name__,
                tuple(Tried(step.rule.name, step.rule.kind, step.taken, step.why) for step in own),
                taken[-1].becomes if taken else (),
                "; ".join(f"{step.rule.why} ({step.rule.source})" for step in taken),
                measured.get(name, {}),
            )
        )
    return tuple(layers)
