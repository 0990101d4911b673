"""A block of dot products, uint8 by int8 into int32, in one AVX-512 VNNI instruction a 64 products.

``vpdpbusd`` multiplies 64 unsigned by 64 signed bytes and adds them in fours to sixteen int32 lanes, without saturation
(its sibling ``vpdpbusds`` saturates), so the sums are exact below 2³¹. ``dot_block(pixels, vectors)`` builds a Numba
intrinsic that keeps ``pixels × vectors`` such registers: the four bytes of a pixel's next four input channels are
broadcast, and meet the weights of 16 output channels × 4 input channels.

Only what runs where ``available()`` may call an intrinsic of this module. ``compiled.py`` keeps machine code made from
it: who changes this file empties its ``__pycache__``.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, Final

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pipeline.kpu.simulator.jit import machine_code

LANES: Final = 16
"""int32 lanes of a 512-bit register: output channels that one instruction serves."""
GROUP: Final = 4
"""Input channels that one instruction consumes."""

BLOCK: Final = 6
"""Pixels of a block of dot products: 6 × 4 sums, 4 weights and a broadcast fill 29 of 32 registers."""
_BYTE, _INT32, _INT64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_INT32, LANES)

# Without a target's assembly parser LLVM refuses inline assembly.
llvm.initialize_native_asmparser()


def available() -> bool:
    """Return whether this machine has the instruction."""
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return False
    features = llvm.get_host_cpu_features()
    return bool(features.get("avx512f") and features.get("avx512vnni"))


def dot_block(pixels: int, vectors: int) -> Callable[..., None]:
    """Return an intrinsic for a block of ``pixels`` × ``vectors``·16 dot products.

    Its arguments are integers (addresses and bytes)::

        block(x, x_step, runs, run_step, groups, w, w_step, acc, acc_step)

    Pixel p reads ``runs`` runs of ``groups``·4 bytes at ``x + p·x_step + r·run_step`` (a run is a row of the kernel:
    its pixels' channels lie one behind the other); vector j of weights lies at ``w + j·w_step``, 64 bytes a group, all
    runs one behind the other; sums go to ``acc + p·acc_step + j·64``, int32.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def block(
        _typing: Any,
        x: Any,
        x_step: Any,
        runs: Any,
        run_step: Any,
        groups: Any,
        w: Any,
        w_step: Any,
        acc: Any,
        acc_step: Any,
    ) -> Any:
        signature = types.void(*[types.intp] * 9)

        def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> Any:
            _emit(builder, arguments, pixels, vectors)
            return context.get_dummy_value()

        return signature, generate

    return block  # type: ignore[no-any-return]


def _emit(builder: ir.IRBuilder, arguments: Any, pixels: int, vectors: int) -> None:
    """Emit two nested loops, over runs and over groups of four channels, with the sums in registers throughout."""
    x, x_step, runs, run_step, groups, w, w_step, acc, acc_step = arguments
    function, entry = builder.function, builder.block
    run_block, group_block, next_run, done = (
        function.append_basic_block(name) for name in ("run", "group", "next_run", "done")
    )
    zero, one = ir.Constant(_INT64, 0), ir.Constant(_INT64, 1)
    count = pixels * vectors

    builder.branch(run_block)
    builder.position_at_end(run_block)
    run, run_x, run_w = (builder.phi(_INT64) for _ in range(3))
    run_sums = [builder.phi(_VECTOR) for _ in range(count)]
    builder.branch(group_block)

    builder.position_at_end(group_block)
    group, group_x, group_w = (builder.phi(_INT64) for _ in range(3))
    group_sums = [builder.phi(_VECTOR) for _ in range(count)]
    sums = _emit_group(builder, group_x, x_step, group_w, w_step, group_sums, vectors)
    group_next = builder.add(group, one)
    x_next = builder.add(group_x, ir.Constant(_INT64, GROUP))
    w_next = builder.add(group_w, ir.Constant(_INT64, GROUP * LANES))
    builder.cbranch(builder.icmp_signed("<", group_next, groups), group_block, next_run)

    builder.position_at_end(next_run)
    run_next = builder.add(run, one)
    run_x_next = builder.add(run_x, run_step)
    builder.cbranch(builder.icmp_signed("<", run_next, runs), run_block, done)

    builder.position_at_end(done)
    for pixel in range(pixels):
        row = builder.add(acc, builder.mul(acc_step, ir.Constant(_INT64, pixel)))
        for vector in range(vectors):
            address = builder.add(row, ir.Constant(_INT64, vector * LANES * 4))
            builder.store(sums[pixel * vectors + vector], builder.inttoptr(address, _VECTOR.as_pointer()), align=4)

    def join(phi: Any, first: Any, first_block: Any, again: Any, again_block: Any) -> None:
        phi.add_incoming(first, first_block)
        phi.add_incoming(again, again_block)

    join(run, zero, entry, run_next, next_run)
    join(run_x, x, entry, run_x_next, next_run)
    join(run_w, w, entry, w_next, next_run)
    join(group, zero, run_block, group_next, group_block)
    join(group_x, run_x, run_block, x_next, group_block)
    join(group_w, run_w, run_block, w_next, group_block)
    for index in range(count):
        join(run_sums[index], ir.Constant(_VECTOR, [0] * LANES), entry, sums[index], next_run)
        join(group_sums[index], run_sums[index], run_block, sums[index], group_block)


def _emit_group(
    builder: ir.IRBuilder, x: Any, x_step: Any, w: Any, w_step: Any, sums: list[Any], vectors: int
) -> list[Any]:
    """Emit one group's instructions: sums[p, j] += x[p, 4 bytes] · w[j, 16 × 4 bytes]."""
    multiply_add = ir.InlineAsm(ir.FunctionType(_VECTOR, [_VECTOR] * 3), "vpdpbusd $3, $2, $0", "=v,0,v,v", False)
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    everywhere = ir.Constant(_VECTOR, [0] * LANES)
    weights = []
    for vector in range(vectors):
        address = builder.add(w, builder.mul(w_step, ir.Constant(_INT64, vector)))
        weights.append(builder.load(builder.inttoptr(address, _VECTOR.as_pointer()), align=4))
    result = []
    for pixel in range(len(sums) // vectors):
        four_bytes = builder.load(builder.inttoptr(x, _INT32.as_pointer()), align=4)
        lane = builder.insert_element(undefined, four_bytes, ir.Constant(_INT32, 0))
        codes = builder.shuffle_vector(lane, undefined, everywhere)
        for vector in range(vectors):
            result.append(builder.call(multiply_add, [sums[pixel * vectors + vector], codes, weights[vector]]))
        x = builder.add(x, x_step)
    return result


_BLOCK_1, _BLOCK_2, _BLOCK_3, _BLOCK_4 = (dot_block(BLOCK, vectors) for vectors in (1, 2, 3, 4))
_PIXEL_1, _PIXEL_2, _PIXEL_3, _PIXEL_4 = (dot_block(1, vectors) for vectors in (1, 2, 3, 4))


@machine_code
def dot_products(
    x: int, x_step: int, runs: int, run_step: int, groups: int, w: int, w_step: int, acc: int, pixels: int, vectors: int
) -> None:
    """Fill acc[pixels][vectors·16], int32, for pixels in a row; arguments as for ``dot_block``, acc without gaps."""
    done = 0
    while done < pixels:
        if done + BLOCK > pixels >= BLOCK:
            done = pixels - BLOCK  # some again rather than each by itself
        source = x + done * x_step
        target = acc + done * vectors * 64
        if pixels >= BLOCK:
            if vectors == 4:
                _BLOCK_4(source, x_step, runs, run_step, groups, w, w_step, target, 256)
            elif vectors == 3:
                _BLOCK_3(source, x_step, runs, run_step, groups, w, w_step, target, 192)
            elif vectors == 2:
                _BLOCK_2(source, x_step, runs, run_step, groups, w, w_step, target, 128)
            else:
                _BLOCK_1(source, x_step, runs, run_step, groups, w, w_step, target, 64)
            done += BLOCK
        else:
            if vectors == 4:
                _PIXEL_4(source, x_step, runs, run_step, groups, w, w_step, target, 256)
            elif vectors == 3:
                _PIXEL_3(source, x_step, runs, run_step, groups, w, w_step, target, 192)
            elif vectors == 2:
                _PIXEL_2(source, x_step, runs, run_step, groups, w, w_step, target, 128)
            else:
                _PIXEL_1(source, x_step, runs, run_step, groups, w, w_step, target, 64)
            done += 1
