"""The operators that run on the CPU, in float32 and in the order of the runtimes' loops.

Sources: nncase v1.9.0 src/kernels/cpu/reference/*.cpp (v4's runtime, v0.2.0-beta4, has the same loops) and
kendryte-standalone-sdk lib/drivers/kpu.c for v3. Sums are taken one addend after the other, as there, because float32
addition is not associative: what is quantised again behind them should meet the same codes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch

from pipeline.errors import KmodelError
from pipeline.kmodel import steps
from pipeline.kmodel.memory import Range
from pipeline.kmodel.steps import Step
from pipeline.kpu.simulator.memory import Memory
from pipeline.kpu.simulator.unary import UNARY, Tensor, sum_in_order

_BINARIES: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "min": np.minimum, "max": np.maximum,
    "pow": np.power,
}  # fmt: skip


def run_operator(step: Step, memory: Memory, version: int) -> None:
    """Run one step that reads and writes general memory.

    Raises:
        KmodelError: an operator that is not known.
    """
    match step:
        case steps.Copy() | steps.Convert():
            memory.store(step.target, memory.view(step.source).copy())
        case steps.Concat():
            _concat(step, memory)
        case steps.Binary():
            _binary(step, memory, version)
        case steps.MatMul():
            _matmul(step, memory)
        case steps.Lookup():
            table = memory.view(step.table)[0].reshape(-1)
            memory.store(step.target, table[memory.view(step.source)])
        case steps.Conv2d():
            _convolve(step, memory)
        case _ if type(step) in UNARY:
            operator = UNARY[type(step)]
            memory.store(step.outputs[0], operator(step, memory.view(step.inputs[0]), version))
        case _:
            name = getattr(step, "name", "") or type(step).__name__
            raise KmodelError(
                f"the simulator does not know the operator {name}",
                remedy="run the part before it, or nncase's own simulator",
            )


def _concat(step: steps.Concat, memory: Memory) -> None:
    parts = []
    for source, size in zip(step.sources, step.dims, strict=True):
        data = np.ascontiguousarray(memory.view(source)).reshape(memory.images, -1).view(np.uint8)
        parts.append(data.reshape(memory.images, step.outer, size * step.inner_bytes))
    joined = np.concatenate(parts, axis=2).reshape(memory.images, -1)
    target = memory.view(step.target)
    memory.store(step.target, np.ascontiguousarray(joined).view(target.dtype))


def _binary(step: steps.Binary, memory: Memory, version: int) -> None:
    if step.op not in _BINARIES:
        raise KmodelError(f"the simulator does not know the operation {step.op}")
    a, b = memory.view(step.a), memory.view(step.b)
    rank = max(a.ndim, b.ndim)
    a, b = (x.reshape(len(x), *(1,) * (rank - x.ndim), *x.shape[1:]) for x in (a, b))
    if isinstance(step, steps.QuantisedBinary):
        memory.store(step.target, _quantised_add(step, a, b) if version == 3 else _quantised_binary(step, a, b))
        return
    result = np.clip(_BINARIES[step.op](a, b), *np.array(step.clamp, np.float32))
    memory.store(step.target, np.broadcast_to(result, memory.view(step.target).shape))


def _quantised_add(step: steps.QuantisedBinary, a: Tensor, b: Tensor) -> Tensor:
    """v3: kpu.c ``kpu_quantized_add``; equal shifts are applied to the sum, others to each addend."""
    (offset_a, mul_a, shift_a), (offset_b, mul_b, shift_b), (offset, mul, shift) = step.rescale
    left = (a.astype(np.int64) + offset_a) * mul_a
    right = (b.astype(np.int64) + offset_b) * mul_b
    total = (left + right) >> shift_a if shift_a == shift_b else (left >> shift_a) + (right >> shift_b)
    scaled = total * mul
    if shift > 0:  # kpu_carry_shift
        half_steps = scaled >> (shift - 1)
        odd = half_steps & 1
        scaled = (half_steps >> 1) + np.where(odd == 1, np.where(half_steps < 0, -1, 1), 0)
    return np.clip(scaled + offset, 0, 255).astype(np.uint8)


def _quantised_binary(step: steps.QuantisedBinary, a: Tensor, b: Tensor) -> Tensor:
    """v4: nncase v0.2.0 neutral_kernels.h ``quantized_binary`` with runtime_op_utility.h ``mul_and_carry_shift``."""

    def rescaled(values: Tensor, mul: int, shift: int) -> Tensor:
        product = values.astype(np.int64) * mul
        return (product + (1 << (shift - 1))) >> shift if shift > 0 else product << -shift

    (offset_a, mul_a, shift_a), (offset_b, mul_b, shift_b), (offset, mul, shift) = step.rescale
    left = rescaled(a.astype(np.int64) + offset_a, mul_a, shift_a)
    right = rescaled(b.astype(np.int64) + offset_b, mul_b, shift_b)
    if step.op == "div":  # C divides towards zero; what it makes of a zero divisor is undefined
        result = np.trunc(left / np.where(right == 0, 1, right)).astype(np.int64)
    else:
        result = _BINARIES[step.op](left, right)
    return np.clip(rescaled(result, mul, shift) + offset, 0, 255).astype(np.uint8)


def _matmul(step: steps.MatMul, memory: Memory) -> None:
    a, b = memory.view(step.a), memory.view(step.b)
    bias = np.frombuffer(step.bias, "<f4") if isinstance(step.bias, bytes) else memory.view(step.bias)[0].reshape(-1)
    if step.b.location.value == "const":
        b = b[:1]  # the same for every image
    products = a[:, :, None, :] * b.transpose(0, 2, 1)[:, None]
    start = np.broadcast_to(bias[:, None], (*products.shape[:-1], 1))
    result = sum_in_order(np.concatenate([start, products], axis=-1))
    memory.store(step.target, np.clip(result, *np.array(step.clamp, np.float32)))


def _convolve(step: steps.Conv2d, memory: Memory) -> None:
    x = torch.from_numpy(np.ascontiguousarray(memory.view(step.source)).reshape(memory.images, *step.source.shape[1:]))
    channels = step.target.shape[1]
    weights = _constant(step.weights, memory).reshape(channels, -1, *step.kernel)
    (top, bottom), (left, right) = step.padding
    padded = torch.nn.functional.pad(x, (left, right, top, bottom))
    result = torch.nn.functional.conv2d(
        padded, weights, _constant(step.bias, memory), step.stride, 0, step.dilation, step.groups
    )
    memory.store(step.target, result.clamp(*step.clamp).numpy())


def _constant(value: Range | bytes, memory: Memory) -> torch.Tensor:
    data = np.frombuffer(value, "<f4") if isinstance(value, bytes) else memory.view(value)[0].reshape(-1)
    return torch.from_numpy(data.astype(np.float32))
