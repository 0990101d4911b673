"""What differs between two kmodels: layers, what each computes, and how it is quantised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.kmodel.check import step_name
from pipeline.kmodel.convolution import KpuConv
from pipeline.kmodel.memory import Range
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.steps import Step

Array = NDArray[np.uint8] | NDArray[np.int64]

_PLACES = {"src_address", "dst_address", "bn_address", "act_address", "para_address", "name"}
"""Where things lie, which is not what a layer computes; the memory in all is compared by itself."""


@dataclass(frozen=True)
class LayerChange:
    """One layer that differs.

    Attributes:
        kind: whether it is in the second kmodel alone, in the first alone, or in both.
        name: in the second kmodel, or the first where it was removed.
        what: a sentence a difference; of an added or removed layer, its shapes.
    """

    kind: Literal["added", "removed", "changed"]
    name: str
    what: tuple[str, ...]


def compare_layers(before: Kmodel, after: Kmodel) -> list[LayerChange]:
    """Return every layer that differs, in order; none where both compute the same in the same way.

    Layers are paired by kind, kernel and shapes; what lies between such pairs, by kind and kernel alone.
    """
    changes = []
    for old, new in _paired(before.steps, after.steps):
        if new is None:
            assert old is not None
            changes.append(LayerChange("removed", step_name(old, before.steps[old]), (_shapes(before.steps[old]),)))
        elif old is None:
            changes.append(LayerChange("added", step_name(new, after.steps[new]), (_shapes(after.steps[new]),)))
        elif what := tuple(_differences(before.steps[old], after.steps[new])):
            changes.append(LayerChange("changed", step_name(new, after.steps[new]), what))
    return changes


def _paired(before: Sequence[Step], after: Sequence[Step]) -> Iterator[tuple[int | None, int | None]]:
    """Numbers of the steps that correspond; None where there is no other."""
    exact = SequenceMatcher(None, [_exact(step) for step in before], [_exact(step) for step in after], autojunk=False)
    for _, old, old_end, new, new_end in exact.get_opcodes():
        kinds = [_kind(step) for step in before[old:old_end]], [_kind(step) for step in after[new:new_end]]
        for tag, low, high, first, last in SequenceMatcher(None, *kinds, autojunk=False).get_opcodes():
            if tag == "equal":
                yield from zip(range(old + low, old + high), range(new + first, new + last), strict=True)
            else:
                yield from ((number, None) for number in range(old + low, old + high))
                yield from ((None, number) for number in range(new + first, new + last))


def _kind(step: Step) -> tuple[object, ...]:
    if isinstance(step, KpuConv):
        return "KpuConv", step.registers.kernel, step.registers.depthwise
    return (type(step).__name__,)


def _exact(step: Step) -> tuple[object, ...]:
    return (*_kind(step), _shapes(step))


def _shapes(step: Step) -> str:
    return f"{_of(step.inputs)} → {_of(step.outputs)}"


def _of(ranges: Sequence[Range]) -> str:
    return ", ".join("×".join(map(str, each.shape)) or f"{each.size} bytes" for each in ranges)


def _differences(old: Step, new: Step) -> Iterator[str]:
    if _shapes(old) != _shapes(new):
        yield f"shapes {_shapes(old)}, now {_shapes(new)}"
    if isinstance(old, KpuConv) and isinstance(new, KpuConv):
        yield from _values(asdict(old.registers), asdict(new.registers))
        yield from _numbers("weights", np.frombuffer(old.weights, np.uint8), np.frombuffer(new.weights, np.uint8))
        for title, tables in (("batch norm", (old.batch_norm, new.batch_norm)),
                              ("activation", (old.activation, new.activation))):  # fmt: skip
            for part in ("mul", "shift", "add", *(("start",) if title == "activation" else ())):
                yield from _numbers(f"{title} {part}", *(getattr(table, part) for table in tables))
        return
    assert is_dataclass(old)
    assert is_dataclass(new)
    yield from _values(*({each.name: getattr(step, each.name) for each in fields(step)} for step in (old, new)))


def _values(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What else a step holds, places and shapes apart."""
    for name, before in old.items():
        if name in _PLACES or name not in new:
            continue
        after = new[name]
        if _is_place(before) or _is_place(after):
            continue
        if isinstance(before, bytes) and isinstance(after, bytes):
            yield from _bytes(name, before, after)
        elif not np.array_equal(np.asarray(before, object), np.asarray(after, object)):
            yield f"{name} {_short(before)}, now {_short(after)}"


def _is_place(value: object) -> bool:
    return isinstance(value, Range) or (
        isinstance(value, tuple) and bool(value) and all(isinstance(each, Range) for each in value)
    )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _bytes(title: str, old: bytes, new: bytes) -> Iterator[str]:
    """Of numbers in some form, mostly float32: how many bytes, not how far apart."""
    if len(old) != len(new):
        yield f"{title}: {len(old):,} bytes, now {len(new):,}"
    elif changed := sum(one != other for one, other in zip(old, new, strict=True)):
        yield f"{title}: {changed:,} of {len(old):,} bytes changed"


def _numbers(title: str, old: Array, new: Array) -> Iterator[str]:
    if old.shape != new.shape:
        yield f"{title}: {old.size:,} numbers, now {new.size:,}"
        return
    apart = np.abs(old.astype(np.int64) - new.astype(np.int64))
    if changed := np.count_nonzero(apart):
        by = f"by {apart.max():,} at most, {apart.mean():,.2f} on average"
        yield f"{title}: {changed:,} of {old.size:,} changed, {by}"
