"""Size and memory of a kmodel before there is one: from ONNX alone, without a compiler, in milliseconds.

BatchNorm and activations count as folded, fused pools as part of their convolution, residual sums as a concat on the
CPU and a 1×1 convolution on the KPU, and what the KPU cannot run as a float operator on the CPU, as nncase 1.9 does it.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from pipeline.errors import KmodelError
from pipeline.kpu import limits
from pipeline.kpu.kmodel_size import kmodel_bytes, parameter_bytes
from pipeline.kpu.layers import WITHOUT_WORK, Layer, Network, read_layers
from pipeline.kpu.lowering import lower
from pipeline.kpu.program import Node, Program, heap_bytes, kpu_bytes, kpu_map_bytes

VERSIONS = (3, 4, 5)


@dataclass(frozen=True)
class LayerPrediction:
    """One layer of the network.

    Attributes:
        name: of its ONNX node.
        op: its ONNX operator.
        unit: "kpu", "cpu", or "none" for what does no work of its own (a reshape, a pool fused into a convolution).
        weight_bytes: of its parameters in the file.
        kpu_bytes: of its input and output maps in the KPU's memory, both live at once; 0 off the KPU.
        weight_loads: portions in which the KPU loads its weights; 0 off the KPU.
    """

    name: str
    op: str
    unit: str
    weight_bytes: int
    kpu_bytes: int
    weight_loads: int


@dataclass(frozen=True)
class Prediction:
    """What the kmodel will need, in bytes.

    Attributes:
        version: of the kmodel.
        kmodel_bytes: size of the file.
        heap_bytes: main memory beside the file: v5's data; v3's and v4's main_mem, which also holds the outputs.
        kpu_bytes: peak of feature maps in the KPU's memory; over 2 MiB it does not compile.
        layers: in the network's order.
    """

    version: int
    kmodel_bytes: int
    heap_bytes: int
    kpu_bytes: int
    layers: tuple[LayerPrediction, ...]


def predict(model: onnx.ModelProto, version: int = 5, *, float_output: bool = True) -> Prediction:
    """Return what the kmodel of a network will need.

    Args:
        model: opset 13 ONNX, one fixed-size input. Weights are not read, only their shapes.
        version: of the kmodel: 5 as nncase 1.9 writes it; 4 and 3 as kpufit writes them, with a float head.
        float_output: whether the output leaves as float32; else as uint8.

    Raises:
        KmodelError: the version is not one of 3, 4 and 5.
        NetworkError: a shape that cannot be told (names the operator and its layer).
    """
    if version not in VERSIONS:
        raise KmodelError(f"kmodel v{version} cannot be predicted", remedy="ask for version 3, 4 or 5")
    network = read_layers(model)
    program = lower(network, float_output=float_output, float_head=version < 5)
    return Prediction(
        version,
        kmodel_bytes(program, version),
        _heap(program, version),
        max((kpu_bytes(program, function) for function in program.functions), default=0),
        _layers(network, program),
    )


def predict_kmodel_bytes(model: onnx.ModelProto, version: int = 5) -> int:
    """Return only the size of the kmodel file, in bytes. See ``predict``."""
    program = lower(read_layers(model), float_head=version < 5)
    return kmodel_bytes(program, version)


def _heap(program: Program, version: int) -> int:
    """Return the main memory beside the file.

    v3 and v4 count the outputs in it, and an input that the CPU reads: behind everything else, but for the output of a
    float head, which takes memory that is free by then.
    """
    if version == 5:
        return heap_bytes(program)
    heads = {node.output for node in program.cpu_nodes if node.kind == "matmul"}.intersection(program.outputs)
    behind = [name for name in program.outputs if name not in heads]
    heap = _align8(heap_bytes(program, heads)) + sum(_align8(program.values[name].size) for name in behind)
    read_by_cpu = any(program.input in node.inputs for node in program.cpu_nodes)
    return heap + (_align8(program.values[program.input].size) if read_by_cpu else 0)


def _layers(network: Network, program: Program) -> tuple[LayerPrediction, ...]:
    nodes: dict[str, list[Node]] = {}
    for node in (*program.cpu_nodes, *(conv for function in program.functions for conv in function.convs)):
        nodes.setdefault(node.layer, []).append(node)
    return tuple(_layer(layer, nodes.get(layer.name, []), program) for layer in network.layers)


def _layer(layer: Layer, nodes: list[Node], program: Program) -> LayerPrediction:
    constants = sum(sum(node.constants) for node in nodes)
    for node in nodes:
        if node.conv is not None:
            shapes = [program.values[name] for name in (node.inputs[0], node.output)]
            maps = sum(kpu_map_bytes(value) for value in shapes)
            conv = node.conv
            loads = limits.weight_loads(conv.in_channels, conv.out_channels, conv.kernel, conv.depthwise)
            size = constants + parameter_bytes(conv)
            return LayerPrediction(layer.name, layer.op, "kpu", size, maps, loads)
    unit = "none" if layer.op in WITHOUT_WORK or not nodes else "cpu"
    return LayerPrediction(layer.name, layer.op, unit, constants, 0, 0)


def _align8(size: int) -> int:
    return -(-size // 8) * 8
