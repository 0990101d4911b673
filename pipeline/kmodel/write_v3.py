"""Writing kmodel v3."""

from __future__ import annotations

import struct
from typing import Final

from pipeline.errors import KmodelError
from pipeline.kmodel import v3_encode
from pipeline.kmodel.memory import KPU_MEMORY_BYTES, Location
from pipeline.kmodel.model import Kmodel, KpuConv
from pipeline.kmodel.registers import ROW_BYTES
from pipeline.kmodel.steps import Step, Unknown
from pipeline.kmodel.v3_layers import CONV

REGISTER_ALIGNMENT: Final = 8
TABLE_ALIGNMENT: Final = 128
ACTIVATION_ALIGNMENT: Final = 256
"""From the file's start, as nncase 0.1 writes them; the loader gives the file a 256-byte aligned address."""


def write_v3(model: Kmodel) -> bytes:
    """Return the file of a v3 model.

    Raises:
        KmodelError: a step that v3 has no layer for.
    """
    header_bytes = 28 + 8 * len(model.outputs) + 8 * len(model.steps)
    flags = model.step_flags or tuple(default_flags(step) for step in model.steps)
    headers: list[tuple[int, int]] = []
    bodies = bytearray()
    for index, (step, step_flags) in enumerate(zip(model.steps, flags, strict=True)):
        start = header_bytes + len(bodies)
        kind, body = _encode(step, step_flags, start, index)
        body += bytes(-(start + len(body)) % 8)
        headers.append((kind, len(body)))
        bodies += body
    lowest = min(
        (r.start for step in model.steps for r in (*step.inputs, *step.outputs) if r.location is Location.KPU),
        default=KPU_MEMORY_BYTES,
    )
    counts = (model.flags, 0, len(model.steps), lowest // ROW_BYTES, model.main_bytes, len(model.outputs))
    head = struct.pack("<7I", 3, *counts)
    head += b"".join(struct.pack("<2I", output.start, output.size) for output in model.outputs)
    head += b"".join(struct.pack("<2I", *header) for header in headers)
    return head + bytes(bodies) + model.trailing


def default_flags(step: Step) -> int:
    """Return the flags word of a new layer: 1 when it writes general SRAM."""
    return int(any(written.location is Location.MAIN for written in step.outputs))


def _encode(step: Step, flags: int, start: int, index: int) -> tuple[int, bytes]:
    if isinstance(step, KpuConv):
        return CONV, _encode_convolution(step, flags, start)
    if isinstance(step, Unknown):
        return step.code, struct.pack("<I", flags) + step.body
    encoded = v3_encode.encode(step)
    if encoded is None:
        raise KmodelError(f"step {index} ({type(step).__name__}) has no layer in kmodel v3", where=f"step {index}")
    kind, body = encoded
    return kind, struct.pack("<I", flags) + body


def _encode_convolution(conv: KpuConv, flags: int, start: int) -> bytes:
    """Lay out registers, weights, batch-norm and activation behind the six words that say where they are."""
    parts = (
        (conv.registers.encode(), REGISTER_ALIGNMENT),
        (conv.weights, TABLE_ALIGNMENT),
        (conv.batch_norm.words, TABLE_ALIGNMENT),
        (conv.activation.table, ACTIVATION_ALIGNMENT),
    )
    body = bytearray(24)
    offsets: list[int] = []
    for part, alignment in parts:
        body += bytes(-(start + len(body)) % alignment)
        offsets.append(start + len(body))
        body += part
    main_start = conv.main_output.start if conv.main_output else 0
    body[:24] = struct.pack("<6I", flags, main_start, *offsets)
    return bytes(body)
