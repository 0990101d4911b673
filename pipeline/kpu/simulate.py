"""Run a kmodel on images, bit for bit as the KPU's arithmetic says, many images a second.

The convolutions' codes equal those of nncase 1.9's Simulator (``variant`` chooses another reading of the activation),
for v3, v4 and v5 files alike. The CPU's operators are computed in float32, in the order of the runtimes' loops.
"""

from __future__ import annotations

import math
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from pipeline.errors import KmodelError
from pipeline.kmodel.convolution import KpuConv
from pipeline.kmodel.memory import Location
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.steps import AddPadding, Download, Step, Upload
from pipeline.kpu.arithmetic import NNCASE_1_9, Variant, convolve, decode_layer
from pipeline.kpu.simulator.fused import LayerRun, fused_layer
from pipeline.kpu.simulator.memory import Arena, Memory, PlainMap
from pipeline.kpu.simulator.operators import run_operator
from pipeline.kpu.simulator.plan import plan_layer
from pipeline.kpu.simulator.selfcheck import int8_products_are_exact
from pipeline.kpu.simulator.tensors import tensor_layer

Array = npt.NDArray[np.generic]
PART_BYTES = 3 << 19
"""Bytes of the largest map that go through the program together: 1.5 MB, which stay near a core."""


@dataclass(frozen=True, eq=False)
class Program:
    """A kmodel, ready to run: each convolution's weights packed, its activation reduced to pieces.

    Attributes:
        kmodel: what it was made from.
        layers: what runs each step; None for a step that is no convolution.
        device: where the convolutions run; None is the CPU's compiled path.
    """

    kmodel: Kmodel
    layers: tuple[LayerRun | None, ...]
    device: torch.device | None
    arenas: deque[Arena] = field(default_factory=deque)
    """Idle buffers of earlier runs; a run takes one a thread, and puts it back."""


def simulate(
    kmodel: Kmodel,
    images: Array,
    *,
    variant: Variant = NNCASE_1_9,
    device: str | None = None,
    threads: int | None = None,
) -> list[Array]:
    """Run a kmodel.

    Args:
        kmodel: v3, v4 or v5, as read.
        images: uint8 N×C×H×W; of the input's own type and shape where that is not an image.
        variant: which reading of the activation.
        device: where torch shall run the convolutions ("cuda", "cpu"); None is the fastest way on the CPU.
        threads: how many cores to use; None is all that the process may use.

    Returns:
        One array an output, N × its shape without the leading 1, uint8 or float32.

    Raises:
        KmodelError: images of another shape or type, an operator that the simulator does not know, or a program that
            reads or writes outside its memories.
    """
    return run_program(prepare(kmodel, variant=variant, device=device), images, threads=threads)


def prepare(kmodel: Kmodel, *, variant: Variant = NNCASE_1_9, device: str | None = None) -> Program:
    """Return a kmodel ready to run any number of times; arguments as for ``simulate``."""
    if len(kmodel.inputs) != 1:
        raise KmodelError(f"the simulator runs kmodels with one input, this one has {len(kmodel.inputs)}")
    place = torch.device(device) if device is not None else None
    if place is None and not int8_products_are_exact():
        place = torch.device("cpu")
    layers = [_layer(step, variant, place) if isinstance(step, KpuConv) else None for step in kmodel.steps]
    return Program(kmodel, tuple(layers), place)


def _layer(conv: KpuConv, variant: Variant, device: torch.device | None) -> LayerRun:
    if conv.batches != 1:
        raise KmodelError(f"a convolution over {conv.batches} maps at a time is not simulated", where=conv.name)
    if len(conv.weights) != conv.registers.weight_bytes:
        raise KmodelError("only 8-bit weights are simulated", where=conv.name)
    layer = decode_layer(conv)
    plan = plan_layer(layer, variant)
    run = fused_layer(plan) if device is None else None
    run = run or tensor_layer(plan, device or torch.device("cpu"))
    return run or (lambda value, _arena: PlainMap(convolve(layer, value.codes(), variant)))


def run_program(program: Program, images: Array, *, threads: int | None = None) -> list[Array]:
    """Run a prepared kmodel; arguments and result as for ``simulate``."""
    source = program.kmodel.inputs[0]
    shape = source.shape[1:] if len(source.shape) > 1 and source.shape[0] == 1 else source.shape
    if images.shape[1:] != shape or images.dtype != np.dtype(source.dtype.numpy_name):
        raise KmodelError(
            f"the input is {images.dtype} N×{'×'.join(map(str, images.shape[1:]))}, the kmodel takes "
            f"{source.dtype.numpy_name} N×{'×'.join(map(str, shape))}"
        )
    cores = threads or len(os.sched_getaffinity(0))
    largest = max((math.prod(r.shape) for step in program.kmodel.convolutions for r in step.outputs), default=1)
    part = max(1, min(PART_BYTES // largest, -(-len(images) // cores)))
    parts = [images[first : first + part] for first in range(0, max(len(images), 1), part)]
    if program.device is not None or cores == 1 or len(parts) == 1:
        results = [_run_part(program, each) for each in parts]  # torch has threads of its own
    else:
        with ThreadPoolExecutor(cores) as pool:
            results = list(pool.map(lambda each: _run_part(program, each), parts))
    return [np.concatenate(pieces) for pieces in zip(*results, strict=True)]


def _run_part(program: Program, images: Array) -> list[Array]:
    kmodel = program.kmodel
    try:
        arena = program.arenas.pop()
    except IndexError:
        arena = Arena()
    memory = Memory(kmodel, len(images), arena)
    source = kmodel.inputs[0]
    if source.location is Location.KPU:
        memory.kpu.write(source.start, PlainMap(images.astype(np.uint8, copy=False)))
    else:
        memory.store(source, images)
    for step, layer in zip(kmodel.steps, program.layers, strict=True):
        _run_step(step, layer, memory, kmodel.version)
    outputs = [_output(memory.view(target)) for target in kmodel.outputs]
    memory.kpu.release()
    program.arenas.append(arena)
    return outputs


def _run_step(step: Step, layer: LayerRun | None, memory: Memory, version: int) -> None:
    match step:
        case KpuConv():
            _run_convolution(step, layer, memory)
        case Upload():
            if step.source.shape[0] != 1:
                raise KmodelError("an upload of several maps at a time is not simulated")
            memory.kpu.write(step.target.start, PlainMap(memory.view(step.source)[:, 0].astype(np.uint8)))
        case Download():
            memory.store(step.target, memory.kpu.read(step.source.start, *_map_shape(step.source.shape)).codes())
        case AddPadding():
            codes = np.zeros((memory.images, step.channels, 4, 4), np.uint8)
            codes[:, :, 0, 0] = memory.view(step.source)
            memory.kpu.write(step.target.start, PlainMap(codes))
        case _:
            run_operator(step, memory, version)


def _run_convolution(conv: KpuConv, layer: LayerRun | None, memory: Memory) -> None:
    assert layer is not None
    result = layer(memory.kpu.read(conv.source.start, *_map_shape(conv.source.shape)), memory.kpu.arena)
    if result.shape[1:] != _map_shape(conv.target.shape):
        raise KmodelError(
            f"the registers say that the result has shape {_map_shape(conv.target.shape)}, it has {result.shape[1:]}",
            where=conv.name,
        )
    memory.kpu.write(conv.target.start, result)
    if conv.main_output is not None:
        memory.store(conv.main_output, result.codes())


def _map_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    channels, height, width = shape[-3:]
    return channels, height, width


def _output(value: Array) -> Array:
    leading_one = value.ndim > 2 and value.shape[1] == 1
    return np.array(value.reshape(len(value), *value.shape[2:]) if leading_one else value)
