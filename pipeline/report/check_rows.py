"""A checked network as people read it: a row a layer that does work, and findings grouped by their rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from pipeline.kpu.check import Checked
from pipeline.kpu.layers import Layer, Network
from pipeline.kpu.nncase.program import Program
from pipeline.kpu.prediction import LayerPrediction
from pipeline.kpu.rules import Finding
from pipeline.kpu.rules.rule import SEVERITIES

_CARRIED = frozenset({"quantize", "dequantize", "copy"})
"""What the CPU does only to carry values; it does not make a layer one of the CPU."""


@dataclass(frozen=True)
class Row:
    """A layer that does work, with those that nncase runs along with it (activation, BatchNorm, reshape).

    Attributes:
        number: from 1 on; the timelines use it too.
        name: of its first layer, which findings and timelines name.
        layers: all of them.
        operator: what it does, e.g. "conv 3×3 + clip".
        out_shape: without the batch; () where it is not known.
        unit: "KPU", "KPU + slice", "CPU conv2d" or "–" where nothing runs.
        kpu_bytes: of input and output maps; 0 off the KPU.
        weight_bytes: of its parameters in the file.
        loads: portions in which the KPU loads its weights; 0 off the KPU.
        cycles: of the KPU; None off it.
        head: whether it belongs to a classifier's head, which may run on the CPU.
        findings: the worst first.
    """

    number: int
    name: str
    layers: tuple[str, ...]
    operator: str
    out_shape: tuple[int, ...]
    unit: str
    kpu_bytes: int
    weight_bytes: int
    loads: int
    cycles: int | None
    head: bool
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> str:
        """The worst severity, or ""."""
        return self.findings[0].severity if self.findings else ""

    @property
    def mark(self) -> str:
        """Severity and rule of the worst finding and how many rules there are besides; else "head" or ""."""
        if not self.findings:
            return "head" if self.head else ""
        others = len({finding.rule for finding in self.findings}) - 1
        return f"{self.findings[0].severity}: {self.findings[0].rule}" + (f" (+{others})" if others else "")


@dataclass(frozen=True)
class Group:
    """All findings of one rule.

    Attributes:
        rule: its name.
        severity: of each.
        limit: what holds.
        why: what happens.
        replacement: what would mend it, or "".
        seen: what was seen, and why replacement left it so, with the layers where it was; in the network's order.
    """

    rule: str
    severity: str
    limit: str
    why: str
    replacement: str
    seen: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def count(self) -> int:
        """How many findings there are."""
        return sum(len(layers) for _, layers in self.seen)


def layer_rows(checked: Checked) -> tuple[Row, ...]:
    """Return a row a layer that does work, in the network's order."""
    heads = row_names(checked)
    predicted = {layer.name: layer for layer in checked.prediction.layers}
    members: dict[str, list[Layer]] = {}
    for layer in checked.network.layers:
        members.setdefault(heads[layer.name], []).append(layer)
    found: dict[str, list[Finding]] = {}
    for finding in sorted(checked.findings, key=lambda each: SEVERITIES.index(each.severity)):
        found.setdefault(heads.get(finding.layer, finding.layer), []).append(finding)
    rows = []
    for number, (name, layers) in enumerate(members.items(), 1):
        parts = [predicted[layer.name] for layer in layers]
        cycles = [part.cycles for part in parts if part.cycles is not None]
        rows.append(
            Row(
                number=number,
                name=name,
                layers=tuple(layer.name for layer in layers),
                operator=_operators(layers, checked.network),
                out_shape=_out_shape(layers, predicted),
                unit=_unit([part.unit for part in parts], [op for part in parts for op in part.cpu_ops]),
                kpu_bytes=max(part.kpu_bytes for part in parts),
                weight_bytes=sum(part.weight_bytes for part in parts),
                loads=max(part.weight_loads for part in parts),
                cycles=sum(cycles) if cycles else None,
                head=name in checked.head,
                findings=tuple(found.get(name, ())),
            )
        )
    return tuple(rows)


def row_names(checked: Checked) -> Mapping[str, str]:
    """Return the name of its row for every layer.

    nncase runs some layers along with another; what does no work of its own goes with the layer before it, or with the
    one behind it where the image comes before. What joins several maps keeps a row of its own, and what nncase refuses.
    """
    together = list(_run_together(checked.prediction.program))
    firsts = {layers[0] for layers in together if len(layers) > 1}
    taken: dict[str, str] = {}
    for first, *others in together:
        for other in others:
            if other not in firsts:
                taken.setdefault(other, taken.get(first, first))
    refused = {refusal.layer for refusal in checked.prediction.refusals}
    joins = {layer.name for layer in checked.network.layers if _joins(layer, checked.network)}
    idle = {layer.name for layer in checked.prediction.layers if layer.unit == "none"} - refused - joins
    names: dict[str, str] = {}
    waiting: list[str] = []
    for layer in checked.network.layers:
        before = checked.network.before(layer)
        if layer.name in taken and taken[layer.name] not in idle:
            names[layer.name] = taken[layer.name]
        elif layer.name in idle and before is not None and before.name in names:
            names[layer.name] = names[before.name]
        elif layer.name in idle and before is None:
            waiting.append(layer.name)
            continue
        else:
            names[layer.name] = layer.name
        if waiting:
            names |= dict.fromkeys(waiting, names[layer.name])
            waiting.clear()
    return names | {name: name for name in waiting}


def finding_groups(findings: Iterable[Finding]) -> tuple[Group, ...]:
    """Return findings by rule, the worst severity first, then in the network's order."""
    by_rule: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda each: SEVERITIES.index(each.severity)):
        by_rule.setdefault(finding.rule, []).append(finding)
    groups = []
    for rule, each in by_rule.items():
        seen: dict[str, list[str]] = {}
        for finding in each:
            what = f"{finding.seen}; left as it is, {finding.kept}" if finding.kept else finding.seen
            seen.setdefault(what, []).append(finding.layer)
        pairs = tuple((what, tuple(layers)) for what, layers in seen.items())
        first = each[0]
        groups.append(Group(rule, first.severity, first.limit, first.why, first.replacement, pairs))
    return tuple(groups)


def shape_text(shape: Iterable[int]) -> str:
    """Return a shape as "24×112×112"."""
    return "×".join(map(str, shape))


def printable(text: str) -> str:
    """Return text of a user's file without what would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _joins(layer: Layer, network: Network) -> bool:
    return sum(bool(name) and name not in network.constants for name in layer.inputs) > 1


def _run_together(program: Program) -> Iterator[tuple[str, ...]]:
    """The KPU's convolutions first: what they take, no CPU operator takes."""
    yield from (conv.layers for conv in program.convs)
    yield from (op.layers for op in program.cpu_ops if op.layers and op.kind not in _CARRIED)


def _out_shape(layers: list[Layer], predicted: Mapping[str, LayerPrediction]) -> tuple[int, ...]:
    """Of the last layer that does work: what reshapes and Concat make of it is not what lies in memory."""
    working = [layer for layer in layers if predicted[layer.name].unit != "none"] or layers
    return next((layer.out_shape[1:] for layer in reversed(working) if layer.out_shape), ())


def _operators(layers: list[Layer], network: Network) -> str:
    runs = [(name, len(list(run))) for name, run in groupby(_operator(layer, network) for layer in layers)]
    return " + ".join(name if times == 1 else f"{times} {name}" for name, times in runs)


def _operator(layer: Layer, network: Network) -> str:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", layer.op).lower()
    kernel = layer.attributes.get("kernel_shape") or (network.weights(layer)[2:] if layer.op.startswith("Conv") else ())
    if layer.op == "Conv" and layer.groups > 1:
        name = "depthwise" if len(layer.in_shape) > 1 and layer.groups == layer.in_shape[1] else "grouped conv"
    size = f" {shape_text(kernel)}" if kernel else ""
    stride = f" stride {layer.strides[0]}" if kernel and max(layer.strides) > 1 else ""
    return printable(f"{name}{size}{stride}")


def _unit(units: list[str], cpu_ops: list[str]) -> str:
    own = ", ".join(op for op in dict.fromkeys(cpu_ops) if op not in _CARRIED)
    if "kpu" in units:
        return f"KPU + {own}" if own else "KPU"
    return f"CPU {own}".strip() if "cpu" in units else "–"
