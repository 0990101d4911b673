"""How many bytes a program takes as a kmodel file, from the layout of each version.

v5 as nncase v1.9.0 writes it (include/nncase/runtime/model.h:23-110, src/codegen/module_builder.cpp:322-460,
include/nncase/runtime/k210/runtime_types.h:292-343); v4 after nncase v0.2.0-beta4 (runtime/model.h:29, codegen.cpp); v3
after kendryte-standalone-sdk (lib/drivers/include/kpu.h:359).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.kpu.nncase.program import CpuOp, Function, KpuConv, Program, Tensor
from pipeline.kpu.nncase.text import call_text

ACTIVATION_BYTES = 144
"""16 segments of 8 bytes and 16 offsets of one."""

BATCH_NORM_BYTES = 8
"""One 64-bit word an output channel."""

REGISTER_BYTES = 96

CONSTANT_ALIGNMENT = 8

V5_HEADER = 32
V5_MODULE_HEADER = 48
V5_MEMPOOL = 8
V5_SECTION_HEADER = 32
V5_FUNCTION_HEADER = 32
V5_TRANSFER = 44
V5_CONV = 152
V5_COPY = 76
V5_ALIGNMENT = 256
"""Of the sections of the k210 module, in the file, and of activations within .rdata."""

V4_HEADER = 40
V4_RANGE = 16
V4_NODE_HEADER = 8
V4_CONV_HEADER = 24
V4_ALIGNMENT = 256
V4_UPLOAD = 48
V4_BODIES = {"dequantize": 40, "quantize": 40, "reduce": 72, "pad": 88, "slice": 120, "copy": 32, "softmax": 44}
V4_MATMUL = 68
V4_OTHER = 108

V3_HEADER = 28
V3_LAYER_HEADER = 8
V3_OUTPUT = 8
V3_CONV_HEADER = 24
V3_TABLE_ALIGNMENT = 128
V3_ACTIVATION_ALIGNMENT = 256
V3_UPLOAD = 24
V3_MATMUL = 24
V3_OTHER = 24


def parameter_bytes(conv: KpuConv) -> int:
    """Return the bytes of a convolution's weights, batch-norm and activation, without alignment or registers."""
    return conv.weight_bytes + BATCH_NORM_BYTES * conv.out_channels + ACTIVATION_BYTES


def kmodel_bytes(program: Program, version: int) -> int:
    """Return the size of the file of this version (3, 4 or 5) that holds ``program``."""
    return {3: _v3_bytes, 4: _v4_bytes, 5: _v5_bytes}[version](program)


def header_bytes(program: Program, version: int) -> int:
    """Return the bytes before the first body, which must be read at once from flash (0 for v5, which cannot be)."""
    if version == 3:
        return V3_HEADER + V3_OUTPUT * len(program.outputs) + V3_LAYER_HEADER * _parts(program)
    if version == 4:
        return V4_HEADER + V4_RANGE * (2 + len(program.outputs)) + V4_NODE_HEADER * _parts(program)
    return 0


def largest_body_bytes(program: Program) -> int:
    """Return the bytes of the largest layer: what must be in memory at once when layers are read from flash."""
    convs = [REGISTER_BYTES + parameter_bytes(conv) for conv in program.convs]
    return max([*convs, *(sum(op.constants) for op in program.cpu_ops)], default=0)


CARRIED: dict[int, frozenset[str]] = {
    3: frozenset({"quantize", "dequantize", "reduce", "matmul"}),
    4: frozenset({"quantize", "dequantize", "reduce", "matmul", "pad", "copy", "softmax", "binary", "resize_image"}),
}
"""CPU operators that kpufit carries over from v5 (``pipeline.kmodel.carry``)."""


def not_carried(program: Program, version: int) -> tuple[str, ...]:
    """Return the CPU operators of a program that a version of the format has no form for, each once."""
    if version not in CARRIED:
        return ()
    return tuple(dict.fromkeys(op.kind for op in program.cpu_ops if op.kind not in CARRIED[version]))


def _v5_bytes(program: Program) -> int:
    functions, ops = program.functions, program.cpu_ops
    constants = sum(_align(size, CONSTANT_ALIGNMENT) for op in ops for size in op.constants)
    text = sum(op.text_bytes for op in ops)
    text += sum(call_text(len(t.shape) for t in (*f.inputs, *f.outputs)) for f in functions)
    size = V5_MODULE_HEADER + 2 * V5_MEMPOOL + _descriptor([program.input], program.outputs)
    size += V5_SECTION_HEADER + constants
    size = _align(V5_HEADER + size + V5_SECTION_HEADER, 8) + text
    start = _align(size, 8)
    if not functions:
        return start
    size = start + V5_MODULE_HEADER + 3 * V5_MEMPOOL
    size += sum(_descriptor(function.inputs, function.outputs) for function in functions)
    size = _align(size + V5_SECTION_HEADER, V5_ALIGNMENT) + _v5_constants(functions)
    size = _align(size + V5_SECTION_HEADER, V5_ALIGNMENT)
    for function in functions:
        size += V5_TRANSFER * (function.uploads + function.downloads)
        size += V5_CONV * len(function.convs) + V5_COPY * function.copies
    return _align(size, 8)


def _v5_constants(functions: Sequence[Function]) -> int:
    """Return the size of the k210 module's .rdata: weights, batch-norm and activation of one layer after the other."""
    offset = 0
    for conv in _convs(functions):
        weights, batch_norm, activation = conv.table_bytes
        offset = _align(offset, CONSTANT_ALIGNMENT) + weights if weights else offset
        offset = _align(offset, CONSTANT_ALIGNMENT) + batch_norm if batch_norm else offset
        offset = _align(offset, V5_ALIGNMENT) + activation if activation else offset
    return offset


def _descriptor(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
    """Return the size of a function's header: a range and a shape a tensor."""
    tensors = [*inputs, *outputs]
    return _align(V5_FUNCTION_HEADER + sum(12 + 4 + 4 * len(tensor.shape) for tensor in tensors), 8)


def _v4_bytes(program: Program) -> int:
    steps = program.steps
    constants = sum(op.constants[0] for op in program.cpu_ops if op.constants)
    size = V4_HEADER + 2 * V4_RANGE + V4_RANGE * len(program.outputs) + constants
    size += V4_NODE_HEADER * _parts(program)
    for step in steps:
        if isinstance(step, CpuOp):
            size += _align(_v4_body(step), 8)
            continue
        size += 0 if step.reads_image else V4_UPLOAD
        for conv in step.convs:
            size = _align(size + V4_CONV_HEADER + REGISTER_BYTES, V4_ALIGNMENT) + BATCH_NORM_BYTES * conv.out_channels
            size = _align(size, V4_ALIGNMENT) + ACTIVATION_BYTES
            size = _align(_align(size, V4_ALIGNMENT) + conv.weight_bytes, 8)
    return size


def _parts(program: Program) -> int:
    """Return how many nodes (v4) or layers (v3) the file has."""
    return sum(len(s.convs) + (not s.reads_image) if isinstance(s, Function) else 1 for s in program.steps)


def _v4_body(op: CpuOp) -> int:
    if op.kind == "matmul":
        return V4_MATMUL + op.constants[1]
    return V4_BODIES.get(op.kind, V4_OTHER) + sum(op.constants[1:])


def _v3_bytes(program: Program) -> int:
    size = V3_HEADER + V3_OUTPUT * len(program.outputs) + V3_LAYER_HEADER * _parts(program)
    for step in program.steps:
        if isinstance(step, CpuOp):
            header = V3_MATMUL if step.kind == "matmul" else V3_OTHER
            size += _align(header + sum(step.constants), 8)
            continue
        size += 0 if step.reads_image else V3_UPLOAD
        for conv in step.convs:
            size = _align(size + V3_CONV_HEADER, 8) + REGISTER_BYTES
            size = _align(size, V3_TABLE_ALIGNMENT) + conv.weight_bytes
            size = _align(size, V3_TABLE_ALIGNMENT) + BATCH_NORM_BYTES * conv.out_channels
            size = _align(_align(size, V3_ACTIVATION_ALIGNMENT) + ACTIVATION_BYTES, 8)
    return size


def _convs(functions: Sequence[Function]) -> list[KpuConv]:
    return [conv for function in functions for conv in function.convs]


def _align(size: int, to: int) -> int:
    return math.ceil(size / to) * to
