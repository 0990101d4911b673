"""How many bytes a program takes as a kmodel file, from the layout of each version.

v5 as nncase v1.9.0 writes it (include/nncase/runtime/model.h:23-110, src/codegen/module_builder.cpp:322-460,
include/nncase/runtime/k210/runtime_types.h:292-343); v4 after nncase v0.2.0-beta4 (runtime/model.h:29, codegen.cpp); v3
after kendryte-standalone-sdk (lib/drivers/include/kpu.h:359).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.kpu.nncase.program import CpuOp, Function, KpuConv, Program, Tensor
from pipeline.kpu.nncase.text import call_text

Purpose = Literal["header", "weights", "batch_norm", "activation", "code", "constants", "padding"]
"""As ``pipeline.kmodel.model.Bytes`` counts a file that exists."""

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


@dataclass(frozen=True)
class Part:
    """Some bytes of a file.

    Attributes:
        layer: the network's layer that needs them; "" for the file's own.
        purpose: what they are.
        size: how many bytes.
    """

    layer: str
    purpose: Purpose
    size: int


def parameter_bytes(conv: KpuConv) -> int:
    """Return the bytes of a convolution's weights, batch-norm and activation, without alignment or registers."""
    return conv.weight_bytes + BATCH_NORM_BYTES * conv.out_channels + ACTIVATION_BYTES


def kmodel_bytes(program: Program, version: int) -> int:
    """Return the size of the file of this version (3, 4 or 5) that holds ``program``."""
    return sum(part.size for part in kmodel_parts(program, version))


def kmodel_parts(program: Program, version: int) -> tuple[Part, ...]:
    """Return what the file of this version (3, 4 or 5) is made of; the sum of all parts is its size."""
    return {3: _v3_parts, 4: _v4_parts, 5: _v5_parts}[version](program)


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


def _v5_parts(program: Program) -> tuple[Part, ...]:
    functions, ops = program.functions, program.cpu_ops
    file = _File()
    file.add("header", V5_HEADER + V5_MODULE_HEADER + 2 * V5_MEMPOOL)
    file.add("header", _descriptor([program.input], program.outputs) + V5_SECTION_HEADER)
    for op in ops:
        for size in op.constants:
            file.add("constants", size, op.layers)
            file.add("padding", -size % CONSTANT_ALIGNMENT, op.layers)
    file.add("header", V5_SECTION_HEADER)
    file.align(8)
    for step in program.steps:
        if isinstance(step, CpuOp):
            file.add("code", step.text_bytes, step.layers)
        else:
            tensors = (*step.inputs, *step.outputs)
            file.add("code", call_text(len(t.shape) for t in tensors), _layers(step))
    file.align(8)
    if functions:
        file.add("header", V5_MODULE_HEADER + 3 * V5_MEMPOOL + V5_SECTION_HEADER)
        for function in functions:
            file.add("header", _descriptor(function.inputs, function.outputs), _layers(function))
        file.align(V5_ALIGNMENT)
        _v5_constants(file, functions)
        file.add("header", V5_SECTION_HEADER)
        file.align(V5_ALIGNMENT)
        for function in functions:
            moves = V5_TRANSFER * (function.uploads + function.downloads) + V5_COPY * function.copies
            file.add("code", moves, _layers(function))
            for conv in function.convs:
                file.add("code", V5_CONV, conv.layers)
        file.align(8)
    return tuple(file.parts)


def _v5_constants(file: _File, functions: Sequence[Function]) -> None:
    """Add the k210 module's .rdata: weights, batch-norm and activation of one layer after the other."""
    base = file.size
    for conv in _convs(functions):
        purposes: tuple[Purpose, ...] = ("weights", "batch_norm", "activation")
        for purpose, size in zip(purposes, conv.table_bytes, strict=True):
            if size:
                file.align(V5_ALIGNMENT if purpose == "activation" else CONSTANT_ALIGNMENT, conv.layers, base)
                file.add(purpose, size, conv.layers)


def _descriptor(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
    """Return the size of a function's header: a range and a shape a tensor."""
    tensors = [*inputs, *outputs]
    return _align(V5_FUNCTION_HEADER + sum(12 + 4 + 4 * len(tensor.shape) for tensor in tensors), 8)


def _v4_parts(program: Program) -> tuple[Part, ...]:
    file = _File()
    file.add("header", V4_HEADER + 2 * V4_RANGE + V4_RANGE * len(program.outputs) + V4_NODE_HEADER * _parts(program))
    for op in program.cpu_ops:
        file.add("constants", op.constants[0] if op.constants else 0, op.layers)
    for step in program.steps:
        if isinstance(step, CpuOp):
            held = sum(step.constants[1:])
            body = V4_MATMUL if step.kind == "matmul" else V4_BODIES.get(step.kind, V4_OTHER)
            file.add("constants", held, step.layers)
            file.add("code", body, step.layers)
            file.add("padding", -(held + body) % 8, step.layers)
            continue
        file.add("code", 0 if step.reads_image else V4_UPLOAD, _layers(step))
        for conv in step.convs:
            file.add("code", V4_CONV_HEADER + REGISTER_BYTES, conv.layers)
            file.align(V4_ALIGNMENT, conv.layers)
            file.add("batch_norm", BATCH_NORM_BYTES * conv.out_channels, conv.layers)
            file.align(V4_ALIGNMENT, conv.layers)
            file.add("activation", ACTIVATION_BYTES, conv.layers)
            file.align(V4_ALIGNMENT, conv.layers)
            file.add("weights", conv.weight_bytes, conv.layers)
            file.align(8, conv.layers)
    return tuple(file.parts)


def _parts(program: Program) -> int:
    """Return how many nodes (v4) or layers (v3) the file has."""
    return sum(len(s.convs) + (not s.reads_image) if isinstance(s, Function) else 1 for s in program.steps)


def _v3_parts(program: Program) -> tuple[Part, ...]:
    file = _File()
    file.add("header", V3_HEADER + V3_OUTPUT * len(program.outputs) + V3_LAYER_HEADER * _parts(program))
    for step in program.steps:
        if isinstance(step, CpuOp):
            header, held = V3_MATMUL if step.kind == "matmul" else V3_OTHER, sum(step.constants)
            file.add("code", header, step.layers)
            file.add("constants", held, step.layers)
            file.add("padding", -(header + held) % 8, step.layers)
            continue
        file.add("code", 0 if step.reads_image else V3_UPLOAD, _layers(step))
        for conv in step.convs:
            file.add("code", V3_CONV_HEADER, conv.layers)
            file.align(8, conv.layers)
            file.add("code", REGISTER_BYTES, conv.layers)
            file.align(V3_TABLE_ALIGNMENT, conv.layers)
            file.add("weights", conv.weight_bytes, conv.layers)
            file.align(V3_TABLE_ALIGNMENT, conv.layers)
            file.add("batch_norm", BATCH_NORM_BYTES * conv.out_channels, conv.layers)
            file.align(V3_ACTIVATION_ALIGNMENT, conv.layers)
            file.add("activation", ACTIVATION_BYTES, conv.layers)
            file.align(8, conv.layers)
    return tuple(file.parts)


class _File:
    """A file as it is written: parts, and how far they reach."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.size = 0

    def add(self, purpose: Purpose, size: int, layers: Sequence[str] = ()) -> None:
        """Write ``size`` bytes."""
        if size:
            self.parts.append(Part(layers[0] if layers else "", purpose, size))
            self.size += size

    def align(self, to: int, layers: Sequence[str] = (), base: int = 0) -> None:
        """Fill up to a multiple of ``to``, counted from ``base``."""
        self.add("padding", -(self.size - base) % to, layers)


def _layers(function: Function) -> tuple[str, ...]:
    return function.convs[0].layers if function.convs else ()


def _convs(functions: Sequence[Function]) -> list[KpuConv]:
    return [conv for function in functions for conv in function.convs]


def _align(size: int, to: int) -> int:
    return math.ceil(size / to) * to
