"""Runs a KPU layer with torch, on any device: exact sums of products in floating point, then the activation.

A float32 sum of integers is exact in any order while it stays below 2²⁴, so a convolution over more than that is cut
into chunks of input channels, added up in float64. Convolutions that do not simply multiply and add (Winograd, TF32)
break this: cuDNN is not used, and ``product_type`` tries the device once before it is trusted with float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional

from pipeline.kpu.arithmetic import pool_window
from pipeline.kpu.simulator import compiled
from pipeline.kpu.simulator.fused import INT32_LIMIT, MAXIMA, PICKED, LayerRun, padded, round_up
from pipeline.kpu.simulator.memory import Arena, Codes, KpuMap
from pipeline.kpu.simulator.plan import CODES, CONSTANT, FALLING_EVEN, HALF_EVEN, HALF_UP, PRODUCT_LIMIT, Plan
from pipeline.kpu.simulator.vnni import GROUP

FLOAT32_LIMIT = 1 << 24


class TensorMap:
    """Maps as a uint8 tensor N×C×H×W on a device."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(images, channels, height, width)."""
        images, channels, height, width = self.tensor.shape
        return images, channels, height, width

    def codes(self) -> Codes:
        """The maps as a numpy array N×C×H×W."""
        array: Codes = self.tensor.cpu().numpy()
        return array

    def release(self, arena: Arena) -> None:
        """Nothing: torch has its own allocator."""


def tensor_layer(plan: Plan, device: torch.device) -> LayerRun | None:
    """Return a function that runs the layer on the device, or None where float64 does not hold it (see ``Plan``)."""
    if not plan.exact:
        return None
    layer = plan.layer
    step, skip = PICKED.get(layer.pool, (1, 0))
    chunks = weight_chunks(plan, device)
    on_cpu = device.type == "cpu" and not plan.sum_x and plan.limit < INT32_LIMIT
    activate = _activate_compiled(plan) if on_cpu else _activate(plan, device)
    groups = layer.in_channels if layer.depthwise else 1
    margin = layer.kernel // 2

    @torch.inference_mode()
    def run(value: KpuMap, _arena: Arena) -> KpuMap:
        codes = value.tensor if isinstance(value, TensorMap) else torch.from_numpy(value.codes())
        x = codes.to(device).to(torch.float32)
        height, width = x.shape[2] // step, x.shape[3] // step
        x = functional.pad(x, (margin,) * 4, value=float(layer.pad_value))[..., skip:]
        sums = torch.zeros((), dtype=torch.float64, device=device)
        for first, last, weights in chunks:
            part = x if layer.depthwise else x[:, first:last]
            sums = sums + _convolve(part.to(weights.dtype), weights, step, groups)[..., :height, :width].double()
        if plan.sum_x:
            sums = sums + _zero_point_term(plan, x, step)[..., :height, :width]
        return TensorMap(_pooled(activate(sums), plan))

    return run


def weight_chunks(plan: Plan, device: torch.device) -> list[tuple[int, int, torch.Tensor]]:
    """Cut the weights along the input channels so that no sum over a chunk can reach 2²⁴: (first, last, weights)."""
    dtype = product_type(device)
    weights = torch.from_numpy(plan.weights)
    if plan.layer.depthwise:
        return [(0, plan.layer.in_channels, weights[:, None].to(device, dtype))]
    reach = np.abs(plan.weights).sum(axis=(2, 3), dtype=np.int64) * (CODES - 1)  # out × in
    bounds, total = [0], np.zeros(len(reach), np.int64)
    for channel in range(reach.shape[1]):
        total = total + reach[:, channel]
        if dtype is torch.float32 and total.max() >= FLOAT32_LIMIT and channel > bounds[-1]:
            bounds.append(channel)
            total = reach[:, channel]
    bounds.append(reach.shape[1])
    return [(first, last, weights[:, first:last].to(device, dtype)) for first, last in pairwise(bounds)]


@functools.cache
def product_type(device: torch.device) -> torch.dtype:
    """Return float32 where this device's convolutions proved exact on random integers, else float64."""
    generator = torch.Generator().manual_seed(0)
    for kernel, groups, channels in ((1, 1, 256), (3, 1, 48), (3, 32, 32)):
        x = torch.randint(0, CODES, (2, channels, 20, 20), generator=generator)
        w = torch.randint(-128, 128, (32, channels // groups, kernel, kernel), generator=generator)
        expected = functional.conv2d(x.double(), w.double(), groups=groups)
        seen = _convolve(x.to(device, torch.float32), w.to(device, torch.float32), 1, groups)
        if not torch.equal(seen.double().cpu(), expected):
            return torch.float64
    return torch.float32


def _convolve(x: torch.Tensor, weights: torch.Tensor, stride: int, groups: int) -> torch.Tensor:
    with torch.backends.cudnn.flags(enabled=False):
        return functional.conv2d(x, weights, stride=stride, groups=groups)


def _zero_point_term(plan: Plan, x: torch.Tensor, step: int) -> torch.Tensor:
    """Return ``arg_x·Σx >> shr_x``; a sum over a window is at most 1024·9·255 < 2²⁴, the product has 47 bits."""
    layer = plan.layer
    groups = layer.in_channels if layer.depthwise else 1
    x = x if layer.depthwise else x.sum(dim=1, keepdim=True)
    ones = torch.ones((groups, 1, layer.kernel, layer.kernel), dtype=product_type(x.device), device=x.device)
    sum_x = _convolve(x.to(ones.dtype), ones, step, groups).double()
    return torch.floor(sum_x * (layer.arg_x / 2.0**layer.shr_x))


def _activate_compiled(plan: Plan) -> Callable[[torch.Tensor], torch.Tensor]:
    stored = round_up(plan.layer.out_channels, GROUP)
    factor, addend = padded(plan.factor, stored), padded(plan.addend, stored)

    def activate(sums: torch.Tensor) -> torch.Tensor:
        images, channels, height, width = sums.shape
        rows = np.zeros((images * height * width, stored), np.int32)
        rows[:, :channels] = sums.permute(0, 2, 3, 1).reshape(-1, channels).numpy()
        codes = np.empty(rows.shape, np.uint8)
        compiled.activate_rows(rows, factor, addend, plan.pieces, codes)
        return torch.from_numpy(codes[:, :channels]).reshape(images, height, width, channels).permute(0, 3, 1, 2)

    return activate


def _activate(plan: Plan, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    factor = torch.from_numpy(plan.factor).to(device)[:, None, None]
    addend = torch.from_numpy(plan.addend).to(device)[:, None, None]

    def activate(sums: torch.Tensor) -> torch.Tensor:
        v = torch.floor(sums * factor + addend)
        codes = torch.zeros_like(v)
        for first, start, slope, add, rounding in zip(*plan.pieces, strict=True):
            if rounding == CONSTANT:
                code = torch.full_like(v, add)
            else:
                code = _rounded(((v - start) * slope).clamp(-PRODUCT_LIMIT, PRODUCT_LIMIT), int(rounding)) + add
            codes = torch.where(v >= first, code, codes)
        return codes.clamp(0, CODES - 1).to(torch.uint8)

    return activate


def _rounded(product: torch.Tensor, rounding: int) -> torch.Tensor:
    """Round as ``pipeline.kpu.arithmetic`` says."""
    if rounding == HALF_EVEN:
        return torch.round(product)
    if rounding == HALF_UP:
        return torch.floor(product + 0.5)
    floor = torch.floor(product)
    fraction = product - floor
    half = (fraction == 0.5) & (floor.remainder(2) == 1) if rounding == FALLING_EVEN else fraction == 0.5
    return floor - ((fraction > 0.5) | half).double()


def _pooled(codes: torch.Tensor, plan: Plan) -> torch.Tensor:
    pool = plan.layer.pool
    if pool in PICKED:
        return codes
    size, stride = pool_window(pool)
    x = codes.float()
    if size != stride:
        x = functional.pad(x, (0, size - stride, 0, size - stride), mode="replicate")
    if pool in MAXIMA:
        return functional.max_pool2d(x, size, stride).to(torch.uint8)
    return torch.floor(functional.avg_pool2d(x, size, stride)).to(torch.uint8)  # sums below 2¹², divided by 4 or 16
