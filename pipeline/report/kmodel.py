"""A kmodel as a person reads it: its layers, its bytes by purpose, and what would load it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from pipeline.kmodel.check import step_name
from pipeline.kmodel.identify import Identity
from pipeline.kmodel.memory import Range
from pipeline.kmodel.model import Kmodel, KpuConv
from pipeline.kmodel.registers import ROW_BYTES
from pipeline.report.text import count


def inspect_json(
    identity: Identity, kmodel: Kmodel | None, loads_on: Sequence[str], kmodel_bytes: int
) -> dict[str, Any]:
    """Return what a file is; ``kmodel`` is None for one that is recognised but not read."""
    values: dict[str, Any] = {
        "version": identity.version,
        "name": identity.name,
        "kmodel_bytes": kmodel_bytes,
        "loads_on": list(loads_on),
    }
    if kmodel is None:
        return values | {"layers": [], "heap_bytes": None, "kpu_bytes": None}
    return values | {
        "heap_bytes": kmodel.heap_bytes,
        "kpu_bytes": kmodel.kpu_bytes,
        "inputs": [_tensor(tensor) for tensor in kmodel.inputs],
        "outputs": [_tensor(tensor) for tensor in kmodel.outputs],
        "bytes": asdict(kmodel.sizes),
        "layers": layer_rows(kmodel),
        "notes": list(kmodel.notes),
    }


def inspect_table(kmodel: Kmodel, title: str) -> Table:
    """Return a row a layer for the terminal."""
    table = Table(title=title, title_justify="left")
    for heading, justify in (("layer", "left"), ("unit", "left"), ("operator", "left"), ("input", "right"),
                             ("output", "right"), ("kernel", "right"), ("pool", "left"), ("KPU rows", "right"),
                             ("loads", "right"), ("weight bytes", "right")):  # fmt: skip
        table.add_column(heading, justify="right" if justify == "right" else "left", no_wrap=True)
    for index, row in enumerate(layer_rows(kmodel)):
        kernel, rows = row.get("kernel"), row.get("kpu_rows")
        table.add_row(
            str(index),
            row["unit"],
            row["op"],
            _size(row["input"]),
            _size(row["output"]),
            f"{kernel}×{kernel}" if kernel else "",
            "" if row.get("pool", "none") == "none" else row["pool"].replace("_", " "),
            f"{rows[0]} → {rows[1]}" if rows else "",
            str(row.get("weight_loads", "")),
            count(row["weight_bytes"]) if "weight_bytes" in row else "",
        )
    return table


def _size(shape: list[int]) -> str:
    """A shape without the batch of 1 that every map has."""
    return "×".join(map(str, shape[1:] if len(shape) > 1 and shape[0] == 1 else shape))


def _tensor(tensor: Range) -> dict[str, Any]:
    return {
        "location": tensor.location.value,
        "dtype": tensor.dtype.numpy_name,
        "shape": list(tensor.shape),
        "start": tensor.start,
        "bytes": tensor.size,
    }


def layer_rows(kmodel: Kmodel) -> list[dict[str, Any]]:
    """Return one row a step, as plain values; registers of a convolution by name."""
    return [_row(step_name(index, step), step) for index, step in enumerate(kmodel.steps)]


def _row(name: str, step: Any) -> dict[str, Any]:
    if not isinstance(step, KpuConv):
        kind = type(step).__name__
        source, target = (next(iter(ranges), None) for ranges in (step.inputs, step.outputs))
        unit = "dma" if kind in ("Upload", "Download") else "cpu"
        return {"name": name, "op": kind, "unit": unit, "input": _shape(source), "output": _shape(target)}
    r = step.registers
    return {
        "name": name,
        "op": "depthwise conv" if r.depthwise else "conv",
        "unit": "kpu",
        "input": _shape(step.source),
        "output": _shape(step.target),
        "kernel": r.kernel,
        "pool": r.pool.name.lower(),
        "kpu_rows": [step.source.start // ROW_BYTES, step.target.start // ROW_BYTES],
        "weight_loads": r.loads_needed,
        "weight_bytes": len(step.weights),
        "macs": step.macs,
        "registers": asdict(r),
    }


def _shape(tensor: Range | None) -> list[int]:
    return list(tensor.shape) if tensor is not None else []
