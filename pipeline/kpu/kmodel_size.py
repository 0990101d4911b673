"""How many bytes a program takes as a kmodel file, from the layout of each version.

v5 as nncase v1.9.0 writes it (include/nncase/runtime/model.h:23-110, src/codegen/module_builder.cpp:322-460,
include/nncase/runtime/k210/runtime_types.h:292-343); v4 after nncase v0.2.0-beta4 (runtime/model.h:29, codegen.cpp); v3
after kendryte-standalone-sdk (lib/drivers/include/kpu.h:359).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.kpu.program import CONSTANT_ALIGNMENT, Function, KpuConv, Node, Program, Value
from pipeline.kpu.stackvm_text import call_text

ACTIVATION_BYTES = 144
"""16 segments of 8 bytes and 16 offsets of one."""

BATCH_NORM_BYTES = 8
"""One 64-bit word an output channel."""

REGISTER_BYTES = 96

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


def _v5_bytes(program: Program) -> int:
    functions, nodes = program.functions, program.cpu_nodes
    constants = sum(_align(size, CONSTANT_ALIGNMENT) for node in nodes for size in node.constants)
    text = sum(node.text_bytes for node in nodes) + sum(_call_text(program, function) for function in functions)
    outputs = [program.values[name] for name in program.outputs]
    size = V5_MODULE_HEADER + 2 * V5_MEMPOOL + _descriptor([program.values[program.input]], outputs)
    size += V5_SECTION_HEADER + constants
    size = _align(V5_HEADER + size + V5_SECTION_HEADER, 8) + text
    start = _align(size, 8)
    if not functions:
        return start
    size = start + V5_MODULE_HEADER + 3 * V5_MEMPOOL
    for function in functions:
        given = [program.values[name] for name in function.outputs]
        size += _descriptor([program.values[function.source]], given)
    size = _align(size + V5_SECTION_HEADER, V5_ALIGNMENT) + _v5_constants(functions)
    size = _align(size + V5_SECTION_HEADER, V5_ALIGNMENT)
    for function in functions:
        copies = V5_COPY * sum(conv.copies for conv in function.convs)
        size += V5_TRANSFER * (1 + len(function.outputs)) + V5_CONV * len(function.convs) + copies
    return _align(size, 8)


def _v5_constants(functions: Sequence[Function]) -> int:
    """Return the size of the k210 module's .rdata: weights, batch-norm and activation of one layer after the other."""
    offset = 0
    for conv in _convs(functions):
        offset = _align(offset, CONSTANT_ALIGNMENT) + conv.weight_bytes
        offset = _align(offset, CONSTANT_ALIGNMENT) + BATCH_NORM_BYTES * conv.out_channels
        offset = _align(offset, V5_ALIGNMENT) + ACTIVATION_BYTES
    return offset


def _descriptor(inputs: Sequence[Value], outputs: Sequence[Value]) -> int:
    """Return the size of a function's header: a range and a shape a tensor."""
    tensors = [*inputs, *outputs]
    return _align(V5_FUNCTION_HEADER + sum(12 + 4 + 4 * len(value.shape) for value in tensors), 8)


def _call_text(program: Program, function: Function) -> int:
    return call_text(len(program.values[name].shape) for name in (function.source, *function.outputs))


def _v4_bytes(program: Program) -> int:
    steps = program.steps
    constants = sum(node.constants[0] for node in program.cpu_nodes if node.constants)
    size = V4_HEADER + 2 * V4_RANGE + V4_RANGE * len(program.outputs) + constants
    nodes = sum(len(s.convs) + (s.source != program.input) if isinstance(s, Function) else 1 for s in steps)
    size += V4_NODE_HEADER * nodes
    for step in steps:
        if isinstance(step, Node):
            size += _align(_v4_body(step), 8)
            continue
        size += 0 if step.source == program.input else V4_UPLOAD
        for conv in _convs([step]):
            size = _align(size + V4_CONV_HEADER + REGISTER_BYTES, V4_ALIGNMENT) + BATCH_NORM_BYTES * conv.out_channels
            size = _align(size, V4_ALIGNMENT) + ACTIVATION_BYTES
            size = _align(_align(size, V4_ALIGNMENT) + conv.weight_bytes, 8)
    return size


def _v4_body(node: Node) -> int:
    if node.kind == "matmul":
        return V4_MATMUL + node.constants[1]
    return V4_BODIES.get(node.kind, V4_OTHER) + sum(node.constants[1:])


def _v3_bytes(program: Program) -> int:
    steps = program.steps
    size = V3_HEADER + V3_OUTPUT * len(program.outputs)
    layers = sum(len(s.convs) + (s.source != program.input) if isinstance(s, Function) else 1 for s in steps)
    size += V3_LAYER_HEADER * layers
    for step in steps:
        if isinstance(step, Node):
            header = V3_MATMUL if step.kind == "matmul" else V3_OTHER
            size += _align(header + sum(step.constants), 8)
            continue
        size += 0 if step.source == program.input else V3_UPLOAD
        for conv in _convs([step]):
            size = _align(size + V3_CONV_HEADER, 8) + REGISTER_BYTES
            size = _align(size, V3_TABLE_ALIGNMENT) + conv.weight_bytes
            size = _align(size, V3_TABLE_ALIGNMENT) + BATCH_NORM_BYTES * conv.out_channels
            size = _align(_align(size, V3_ACTIVATION_ALIGNMENT) + ACTIVATION_BYTES, 8)
    return size


def _convs(functions: Sequence[Function]) -> list[KpuConv]:
    return [node.conv for function in functions for node in function.convs if node.conv is not None]


def _align(size: int, to: int) -> int:
    return math.ceil(size / to) * to
