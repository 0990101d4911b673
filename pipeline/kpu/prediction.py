"""Size and memory of a kmodel before there is one: from ONNX alone, without a compiler, in milliseconds.

nncase's own passes are followed (``pipeline.kpu.nncase``), so that what runs where, what lies in memory when, and what
the file holds come from one model of the compiler.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from pipeline.errors import KmodelError
from pipeline.kpu import limits
from pipeline.kpu.latency import ConvWork, Latency, latency, network_latency
from pipeline.kpu.memory.feature_map import map_bytes
from pipeline.kpu.memory.kmodel_size import Part, Purpose, kmodel_bytes, kmodel_parts
from pipeline.kpu.nncase.images import failing_parts
from pipeline.kpu.nncase.lower import lower
from pipeline.kpu.nncase.program import KpuConv, Program, Refusal

VERSIONS = (3, 4, 5)

_CONVERSIONS = frozenset({"quantize", "dequantize"})
"""Operators that only carry values between uint8 and float; they do not make a layer one of the CPU."""


@dataclass(frozen=True)
class LayerPrediction:
    """One layer of the network.

    Attributes:
        name: of its ONNX node.
        op: its ONNX operator.
        unit: "kpu", "cpu", or "none" for what does no work of its own (a reshape).
        file_bytes: of the kmodel, by purpose (weights, batch_norm, activation, constants, code, padding).
        kpu_bytes: of its input and output maps in the KPU's memory, both live at once; 0 off the KPU.
        weight_loads: portions in which the KPU loads its weights; 0 off the KPU.
        cycles: of the KPU; None off it.
        cpu_ops: what the CPU does for it, conversions between uint8 and float included.
    """

    name: str
    op: str
    unit: str
    file_bytes: Mapping[Purpose, int]
    kpu_bytes: int
    weight_loads: int
    cycles: int | None
    cpu_ops: tuple[str, ...]

    @property
    def weight_bytes(self) -> int:
        """Bytes of its parameters in the file: weights, batch-norm, activation and the CPU's constants."""
        return sum(self.file_bytes.get(purpose, 0) for purpose in ("weights", "batch_norm", "activation", "constants"))


@dataclass(frozen=True)
class Prediction:
    """What the kmodel will need, in bytes.

    Attributes:
        version: of the kmodel.
        parts: the bytes of the file, by layer and purpose.
        heap_bytes: main memory beside the file: v5's data; v3's and v4's main_mem, which also holds the outputs.
        kpu_bytes: peak of feature maps in the KPU's memory; over 2 MiB it does not compile.
        latency: of the KPU's part; None without one.
        layers: in the network's order.
        program: what nncase makes of the network.
        fails_by_images: what compiles and then fails at run time with some calibration images, by layer.
    """

    version: int
    parts: tuple[Part, ...]
    heap_bytes: int
    kpu_bytes: int
    latency: Latency | None
    layers: tuple[LayerPrediction, ...]
    program: Program
    fails_by_images: tuple[Refusal, ...] = ()

    @property
    def kmodel_bytes(self) -> int:
        """Size of the file."""
        return sum(part.size for part in self.parts)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Why nncase refuses the network, but for the KPU's memory."""
        return self.program.refusals

    @property
    def compiles(self) -> bool:
        """Whether nncase makes a kmodel of it."""
        return not self.refusals and self.kpu_bytes <= limits.KPU_MEMORY_BYTES


def predict(
    model: onnx.ModelProto,
    version: int = 5,
    *,
    float_output: bool = True,
    prepared: bool = True,
    parts_share: bool | None = None,
) -> Prediction:
    """Return what the kmodel of a network will need.

    Args:
        model: ONNX, one fixed-size input. Weights are not read, only their shapes.
        version: of the kmodel: 5 as nncase 1.9 writes it; 4 and 3 as kpufit writes them, with a float head.
        float_output: whether the output leaves as float32; else as uint8.
        prepared: whether kpufit prepares the network for nncase (BatchNorm folded, ReLU as a clamp).
        parts_share: whether parts of a map have the calibrated range of the whole (see ``nncase.passes.run_passes``).

    Raises:
        KmodelError: the version is not one of 3, 4 and 5.
        NetworkError: the network has not one input of fixed size, or reads what nothing gives.
    """
    if version not in VERSIONS:
        raise KmodelError(f"kmodel v{version} cannot be predicted", remedy="ask for version 3, 4 or 5")
    program = lower(
        model, prepared=prepared, float_output=float_output, float_head=version < 5, parts_share=parts_share
    )
    fails = failing_parts(model, prepared=prepared, float_output=float_output, float_head=version < 5)
    convs = program.convs
    parts = kmodel_parts(program, version)
    return Prediction(
        version,
        parts,
        _heap(program, version),
        program.kpu_bytes,
        network_latency([latency(conv_work(conv)) for conv in convs]) if convs else None,
        _layers(model, program, parts),
        program,
        fails,
    )


def predict_kmodel_bytes(model: onnx.ModelProto, version: int = 5) -> int:
    """Return only the size of the kmodel file, in bytes. See ``predict``."""
    return kmodel_bytes(lower(model, float_head=version < 5), version)


def conv_work(conv: KpuConv) -> ConvWork:
    """Return what the KPU has to do for a convolution."""
    _, channels, height, width = conv.in_shape
    return ConvWork(
        channels, conv.out_channels, height, width, conv.kernel, conv.depthwise,
        shrink=max(1, height // max(1, conv.out_shape[2])),
    )  # fmt: skip


def _heap(program: Program, version: int) -> int:
    """Return the main memory beside the file.

    v3 and v4 count the outputs in it, and an input that the CPU reads: behind everything else, but for the output of a
    float head, which takes memory that is free by then.
    """
    if version == 5:
        return program.heap_bytes
    heads = [op.output for op in program.cpu_ops if op.kind == "matmul"]
    behind = [output for output in program.outputs if output not in heads]
    heap = _align8(program.heap_bytes) + sum(_align8(output.size) for output in behind)
    read_by_cpu = any(op.reads_image for op in program.cpu_ops)
    return heap + (_align8(program.input.size) if read_by_cpu else 0)


def _layers(model: onnx.ModelProto, program: Program, parts: tuple[Part, ...]) -> tuple[LayerPrediction, ...]:
    convs: dict[str, list[KpuConv]] = {}
    joined: set[str] = set()
    for conv in program.convs:
        convs.setdefault(conv.layers[0], []).append(conv)
        joined.update(conv.layers)
    ops: dict[str, list[str]] = {}
    held: dict[str, Counter[Purpose]] = {}
    for part in parts:
        held.setdefault(part.layer, Counter())[part.purpose] += part.size
    for op in program.cpu_ops:
        for layer in op.layers:
            ops.setdefault(layer, []).append(op.kind)
    layers = []
    for node in model.graph.node:
        if node.op_type == "Constant":
            continue
        name = node.name or f"{node.op_type}:{node.output[0]}"
        own = convs.get(name, [])
        done = tuple(ops.get(name, ()))
        unit = "kpu" if name in joined else "cpu" if set(done) - _CONVERSIONS else "none"
        layers.append(
            LayerPrediction(
                name=name,
                op=node.op_type,
                unit=unit,
                file_bytes=dict(held.get(name, {})),
                kpu_bytes=max((map_bytes(*c.in_shape[1:]) + map_bytes(*c.out_shape[1:]) for c in own), default=0),
                weight_loads=max(
                    (limits.weight_loads(c.in_channels, c.out_channels, c.kernel, c.depthwise) for c in own), default=0
                ),
                cycles=sum(latency(conv_work(c)).cycles for c in own) if own else None,
                cpu_ops=done,
            )
        )
    return tuple(layers)


def _align8(size: int) -> int:
    return -(-size // 8) * 8
