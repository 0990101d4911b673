"""Writing kmodel v4."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Final

from pipeline.errors import KmodelError
from pipeline.kmodel import v4_encode
from pipeline.kmodel.convolution import ACTIVATION_BYTES
from pipeline.kmodel.identify import MAGIC
from pipeline.kmodel.model import Kmodel, KpuConv
from pipeline.kmodel.registers import REGISTER_BYTES
from pipeline.kmodel.steps import Step
from pipeline.kmodel.v4_nodes import KPU_CONV

TABLE_ALIGNMENT: Final = 256
"""From the file's start (nncase v0.2.0-beta4 codegen); the loader gives the file a 256-byte aligned address."""
_CONV_FIXED_BYTES: Final = 24 + REGISTER_BYTES


def write_v4(model: Kmodel) -> bytes:
    """Return the file of a v4 model.

    Raises:
        KmodelError: a step or memory range that v4 does not have.
    """
    counts = (model.main_bytes, len(model.steps), len(model.inputs), len(model.outputs), model.reserved)
    head = MAGIC + struct.pack("<9I", 4, model.flags, model.target, len(model.constants), *counts)
    head += b"".join(v4_encode.write_range(r) for r in model.inputs)
    head += b"".join(struct.pack("<4i", *r.shape) for r in model.inputs)
    head += b"".join(v4_encode.write_range(r) for r in model.outputs)
    head += model.constants
    bodies_start = len(head) + 8 * len(model.steps)
    headers: list[tuple[int, int]] = []
    bodies = bytearray()
    for index, step in enumerate(model.steps):
        start = bodies_start + len(bodies)
        code, body = _encode(step, start, index)
        body += bytes(-(start + len(body)) % 8)
        headers.append((code, len(body)))
        bodies += body
    return head + b"".join(struct.pack("<2I", *header) for header in headers) + bytes(bodies) + model.trailing


def _encode(step: Step, start: int, index: int) -> tuple[int, bytes]:
    if isinstance(step, KpuConv):
        return KPU_CONV, _encode_convolution(step, start)
    encoded = v4_encode.encode(step)
    if encoded is None:
        raise KmodelError(f"step {index} ({type(step).__name__}) has no node in kmodel v4", where=f"step {index}")
    return encoded


def _encode_convolution(conv: KpuConv, start: int) -> bytes:
    """Lay out batch-norm, activation and weights, each on 256; the address registers hold the padding before them."""
    position = start + _CONV_FIXED_BYTES
    pads: list[int] = []
    for size in (len(conv.batch_norm.words), ACTIVATION_BYTES, len(conv.weights)):
        pads.append(-position % TABLE_ALIGNMENT)
        position += pads[-1] + size
    registers = replace(conv.registers, bn_address=pads[0], act_address=pads[1], para_address=pads[2])
    output = v4_encode.write_range(conv.main_output) if conv.main_output else bytes(16)
    fixed = output + struct.pack("<2I", conv.batches, 0) + registers.encode()
    tables = bytes(pads[0]) + conv.batch_norm.words + bytes(pads[1]) + conv.activation.table + bytes(pads[2])
    return fixed + tables + conv.weights
