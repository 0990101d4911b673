"""Which stack of 3×3 convolutions reaches as far as a larger kernel, and where the kernel's taps lie in it.

Layers of 3×3 with padding 1 and strides s₁, s₂, … are one convolution of stride s = s₁·s₂·… with as many taps before
an output's pixel as behind it: R = 1 + s₁·(1 + s₂·(1 + …)) of each, 2R + 1 in all. A kernel with b zeros before the
image has taps from −b to k − 1 − b. Where these are lopsided, as without padding, the stack may compute each output d
places later, in the place of output i + d: taps from −b − s·d to k − 1 − b − s·d. The first d outputs are cropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from pipeline.kpu import limits
from pipeline.network.modules import Slice
from pipeline.replacement.rule import Miss

STRIDES = (1, 2, 4)
"""Of a whole stack: the KPU halves, and a stack may halve twice."""


@dataclass(frozen=True)
class Kernel:
    """One axis of a convolution.

    Attributes:
        taps: how many, a dilated kernel counted with its gaps.
        stride: one of `STRIDES`.
        begin: zeros before the image.
        end: zeros behind it.
        pixels: size of the map without the zeros; None where it is not known.
    """

    taps: int
    stride: int
    begin: int
    end: int
    pixels: int | None

    def outputs(self, pixels: int) -> int:
        """Return how many outputs it has over so many pixels."""
        return (pixels + self.begin + self.end - self.taps) // self.stride + 1


@dataclass(frozen=True)
class Stack:
    """A stack that reaches as far as a kernel, for rows and columns.

    Attributes:
        strides: of its layers.
        first: where the kernel's first tap lies among the stack's, which count from 0.
        moved: outputs before the kernel's own.
        surplus: outputs behind them.
    """

    strides: tuple[int, ...]
    first: tuple[int, int]
    moved: tuple[int, int]
    surplus: tuple[int, int]

    def crop(self) -> Slice | None:
        """Return the layer that takes away what the kernel does not give."""
        if not any(self.moved + self.surplus):
            return None
        rows, columns = (
            (axis + 2, moved, -surplus or None, 1)
            for axis, (moved, surplus) in enumerate(zip(self.moved, self.surplus, strict=True))
        )
        return Slice((rows, columns))


def reach(strides: tuple[int, ...]) -> int:
    """Return how many taps a stack has before an output's own pixel, and behind it."""
    taps = 0
    for stride in reversed(strides):
        taps = 1 + stride * taps
    return taps


def stack_for(rows: Kernel, columns: Kernel) -> Stack | Miss:
    """Return the stack of fewest layers for a kernel, cropping as little as it can."""
    if rows.stride != columns.stride or rows.stride not in STRIDES:
        return Miss(f"stride {rows.stride}×{columns.stride}; a stack has 1, 2 or 4, the same on both axes")
    halvings = rows.stride.bit_length() - 1
    least = rows.stride * limits.MIN_SIDE
    for pixels in (rows.pixels, columns.pixels):
        if pixels is not None and (pixels % rows.stride or pixels < least):
            return Miss(f"the KPU does not halve {pixels} pixels, but multiples of {rows.stride} from {least} on")
    most = rows.taps + rows.begin + columns.taps + columns.begin
    for layers in count(max(2, halvings)):
        strides = (2,) * halvings + (1,) * (layers - halvings)
        found = [next(_places(axis, reach(strides)), None) for axis in (rows, columns)]
        if found[0] is not None and found[1] is not None:
            (first_row, down, below), (first_column, right, behind) = found[0], found[1]
            return Stack(strides, (first_row, first_column), (down, right), (below, behind))
        if reach(strides) > most:
            break
    if rows.pixels is None or columns.pixels is None:
        return Miss("the size of its input is not known here")
    return Miss("it gives more outputs than a 3×3 of its stride does")


def _places(kernel: Kernel, taps: int) -> Iterator[tuple[int, int, int]]:
    """Yield where the first tap can lie, with the outputs to crop before and behind."""
    if kernel.pixels is None:  # then only where it gives as many outputs as a stack, whatever the size
        sizes = range(64, 64 + kernel.stride)
        spare = 0 if all(-(-n // kernel.stride) == kernel.outputs(n) for n in sizes) else -1
    else:
        spare = kernel.pixels // kernel.stride - kernel.outputs(kernel.pixels)
    for moved in range(spare + 1):
        first = taps - kernel.begin - kernel.stride * moved
        if first >= 0 and first + kernel.taps <= 2 * taps + 1:
            yield first, moved, spare - moved
