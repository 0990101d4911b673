"""Parallel branches → one chain of wider convolutions that carries all of them side by side, exactly.

Layer j of the chain holds, as its output channels, what each branch has come to after its own part of the work. A
branch with fewer steps than the chain has layers is *carried* through the others: a kernel that is 1 at the one tap
over the pixel (a Dirac) copies a map, and ReLU leaves a copy of a map ≥ 0 as it is. The value that all branches read
is carried once for all that need it later. The last layer puts the branches side by side (a concat) or adds them up
(a sum: the kernels lie side by side along its inputs, so that the convolution itself adds).

For a residual block with y = conv2(relu(conv1 x)) + shortcut(x) and x ≥ 0 this is reserve-and-merge (RMNet, arXiv
2111.00687): conv1' = [W1; Dirac], conv2' = [W2 | shortcut]. A 1×1 shortcut with a stride is taken apart: the copy is
sampled, and the 1×1 multiplies what is left of it, in the last layer (they commute).

A 1×1 kernel, and a Dirac, lie at the tap of the larger kernel that reads the pixel itself: at (top, left) with as many
zeros of padding at the top and left. So paddings that differ from side to side (TensorFlow's SAME) are exact too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice, product
from typing import Literal

from torch import nn

from pipeline.network.modules import Slice
from pipeline.replacement.activations import ANY, Range, canonical, identity_range, range_after, unchanged
from pipeline.replacement.branches import Pads, Step
from pipeline.replacement.rule import Miss

_MOST_PLACEMENTS = 4096
_KEEP_RANGE = (nn.AvgPool2d, nn.ConstantPad3d, Slice)

Join = Literal["sum", "concat"]
State = tuple[int, int]
"""What a map holds: branch, and how many of its steps are done."""

ORIGIN: State = (-1, 0)
"""The value that all branches read."""
_DONE = 1 << 16
"""Stands for "all steps done" in the last layer's states."""


@dataclass(frozen=True)
class Block:
    """A part of a layer's kernel: from one state to one state.

    Attributes:
        source: rows of the input.
        target: rows of the output.
        step: what is computed; None for a copy.
    """

    source: State
    target: State
    step: Step | None


@dataclass(frozen=True)
class Layer:
    """One convolution of the chain.

    Attributes:
        sources: the states of its input, each with its channels, in order.
        targets: the states of its output.
        blocks: its kernel.
        kernel: height and width.
        stride: along rows and columns.
        pads: zeros around its input.
        activation: what follows.
        by_channel: whether it is depthwise.
    """

    sources: dict[State, int]
    targets: dict[State, int]
    blocks: tuple[Block, ...]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: Pads
    activation: nn.Module | None
    by_channel: bool

    @property
    def inputs(self) -> int:
        """Input channels."""
        return sum(self.sources.values())

    @property
    def outputs(self) -> int:
        """Output channels."""
        return sum(self.targets.values())

    @property
    def weights(self) -> int:
        """Weights of the kernel."""
        return self.outputs * (1 if self.by_channel else self.inputs) * math.prod(self.kernel)

    def size(self, given: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of its output for an input of ``given``."""
        top, left, bottom, right = self.pads
        return (
            (given[0] + top + bottom - self.kernel[0]) // self.stride[0] + 1,
            (given[1] + left + right - self.kernel[1]) // self.stride[1] + 1,
        )


def plan(
    branches: Sequence[Sequence[Step]], channels: int, given: Range, join: Join, *, shifted: bool = False
) -> tuple[Layer, ...] | Miss:
    """Return the chain with the fewest weights, or why there is none.

    Args:
        branches: the steps of each; none for the value itself.
        channels: of the value that all read.
        given: its range.
        join: how the branches end.
        shifted: whether that value is carried with an offset that makes it positive (see `Carry`).
    """
    if not any(branches):
        return Miss("no branch has a convolution")
    if join == "sum" and len({steps[-1].outputs if steps else channels for steps in branches}) > 1:
        return Miss("the operands differ in their channels")
    depth = max(len(steps) + (join == "sum" and _active(steps)) for steps in branches)
    reasons: list[str] = []
    best: tuple[Layer, ...] | None = None
    choices = [list(_placements(steps, depth, join)) for steps in branches]
    for places in islice(product(*choices), _MOST_PLACEMENTS):
        layers = _layers(branches, places, depth, channels, given, join, shifted)
        if isinstance(layers, Miss):
            reasons.append(layers.reason)
        elif best is None or weights(layers) < weights(best):
            best = layers
    if best is None:
        return Miss(reasons[-1])  # of the placements, the latest is the one that a sum needs
    return best


def weights(layers: Sequence[Layer]) -> int:
    """Return the weights of a whole chain."""
    return sum(layer.weights for layer in layers)


def _active(steps: Sequence[Step]) -> bool:
    """Whether a branch ends in an activation: a sum comes after it, in a layer of its own."""
    return bool(steps) and steps[-1].activation is not None


def _placements(steps: Sequence[Step], depth: int, join: Join) -> Iterator[tuple[int, ...]]:
    """In which layers a branch can do its steps."""
    usable = depth - (join == "sum" and _active(steps))
    return combinations(range(usable), len(steps))


def _layers(
    branches: Sequence[Sequence[Step]],
    places: Sequence[tuple[int, ...]],
    depth: int,
    channels: int,
    given: Range,
    join: Join,
    shifted: bool,
) -> tuple[Layer, ...] | Miss:
    """The chain with each branch's steps in the given places."""
    strides = _strides(branches, places, depth)
    if isinstance(strides, Miss):
        return strides
    states: dict[State, int] = {ORIGIN: channels}
    ranges: dict[State, Range] = {ORIGIN: given}
    layers = []
    for number in range(depth):
        blocks, targets = _blocks(branches, places, states, number, number == depth - 1, join)
        activation = _activation(blocks, ranges, shifted)
        if isinstance(activation, Miss):
            return activation
        shape = _shape(blocks, strides[number])
        if isinstance(shape, Miss):
            return shape
        if shifted and any(b.source == ORIGIN and b.step and not b.step.pointwise for b in blocks) and number:
            return Miss("the carried input is read by more than a 1×1, whose padding would not be its zero")
        kernel, pads = shape
        by_channel = _by_channel(blocks, states, targets)
        layers.append(Layer(states, targets, blocks, kernel, strides[number], pads, activation.kept, by_channel))
        ranges = {
            block.target: range_after(block.step.activation)
            if block.step is not None and block.step.activation is not None
            else _range(block, ranges)
            for block in blocks
        }
        states = targets
    return tuple(layers)


def _range(block: Block, ranges: dict[State, Range]) -> Range:
    """The range of what a block computes, before the layer's activation."""
    if block.step is None:
        return ranges[block.source]
    if block.step.parts and all(isinstance(part, _KEEP_RANGE) for part in block.step.parts):
        low, high = ranges[block.source]
        return min(low, 0.0), max(high, 0.0)  # a pool's padding, and channels of zeros
    return ANY


def _strides(
    branches: Sequence[Sequence[Step]], places: Sequence[tuple[int, ...]], depth: int
) -> list[tuple[int, int]] | Miss:
    """The stride of each layer: that of the kernels larger than 1×1 in it, else of what is left of the 1×1s'."""
    strides: list[tuple[int, int] | None] = [None] * depth
    for steps, place in zip(branches, places, strict=True):
        for step, number in zip(steps, place, strict=True):
            if not step.pointwise:
                if strides[number] not in (None, step.stride):
                    return Miss("branches with different strides in one layer")
                strides[number] = step.stride
    # A chain of 1×1s alone has its strides where the branch with the most steps has them.
    longest = max(range(len(branches)), key=lambda index: len(branches[index]))
    for step, number in zip(branches[longest], places[longest], strict=True):
        strides[number] = strides[number] or step.stride
    chosen = [stride or (1, 1) for stride in strides]
    for steps, place in zip(branches, places, strict=True):
        own = (1, 1)
        for step, number in zip(steps, place, strict=True):
            if not step.pointwise and own != _product(chosen[:number]):
                return Miss("a branch has its stride after a 3×3 that another has it before")
            own = _product([own, step.stride])
        if own != _product(chosen):
            return Miss("branches with different strides")
    return chosen


def _product(strides: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return math.prod(rows for rows, _ in strides), math.prod(columns for _, columns in strides)


def _blocks(
    branches: Sequence[Sequence[Step]],
    places: Sequence[tuple[int, ...]],
    states: dict[State, int],
    number: int,
    last: bool,
    join: Join,
) -> tuple[tuple[Block, ...], dict[State, int]]:
    """What layer ``number`` computes, and the channels of what it gives."""
    blocks: dict[tuple[State, State], Block] = {}
    targets: dict[State, int] = {}
    for index, (steps, place) in enumerate(zip(branches, places, strict=True)):
        done = sum(at < number for at in place)
        works = number in place
        source = (index, done) if done else ORIGIN
        step = steps[done] if works else None
        outputs = states[source] if step is None else step.outputs
        if last:
            target = (0, _DONE) if join == "sum" else (index, _DONE)
        else:
            target = (index, done + works) if done + works else ORIGIN
        targets[target] = outputs
        key = (source, (index, _DONE) if last else target)
        blocks.setdefault(key, Block(source, target, step))
    return tuple(blocks.values()), targets


@dataclass(frozen=True)
class _Activation:
    kept: nn.Module | None


def _activation(blocks: Sequence[Block], ranges: dict[State, Range], shifted: bool) -> _Activation | Miss:
    """The one activation of a layer, which must leave what is carried or has none as it is."""
    active = [block.step.activation for block in blocks if block.step is not None and block.step.activation is not None]
    if len({canonical(activation) for activation in active}) > 1:
        names = sorted({str(activation) for activation in active})
        return Miss(f"branches with different activations in one layer: {', '.join(names)}")
    kept = active[0] if active else None
    for block in blocks:
        if block.step is not None and block.step.activation is not None:
            continue
        if shifted and block.source == block.target == ORIGIN and identity_range(kept) is not None:
            continue
        known = _range(block, ranges)
        if not unchanged(kept, known):
            what = "a copy" if block.step is None else "a branch without activation"
            return Miss(f"{kept} would change {what}, whose values lie in {known[0]:g} … {known[1]:g}")
    return _Activation(kept)


def _shape(blocks: Sequence[Block], stride: tuple[int, int]) -> tuple[tuple[int, int], Pads] | Miss:
    """Kernel and padding of a layer that holds all its steps'."""
    steps = [block.step for block in blocks if block.step is not None and not block.step.pointwise]
    if not steps:
        return (1, 1), (0, 0, 0, 0)
    sides = []
    for axis in (0, 1):
        before = max(step.pads[axis] for step in steps)
        taps = max(before - step.pads[axis] + step.kernel[axis] for step in steps)
        # Zeros beyond what the taps use up: −1 keeps the size at stride 1.
        slack = {step.pads[axis] + step.pads[axis + 2] - step.kernel[axis] for step in steps}
        if not slack <= ({-1} if stride[axis] == 1 else {-1, -2}):
            return Miss("a kernel whose padding does not keep the size")
        after = taps - before + max(slack)
        if before >= taps or after < 0:
            return Miss("a kernel that does not read its own pixel")
        sides.append((taps, before, after))
    (height, top, bottom), (width, left, right) = sides
    if max(height, width) > 3:
        return Miss(f"a {height}×{width} kernel is not one of the KPU's")
    return (height, width), (top, left, bottom, right)


def _by_channel(blocks: Sequence[Block], sources: dict[State, int], targets: dict[State, int]) -> bool:
    """Whether every output channel reads the input channel of the same number, and none other."""
    pairs = [(block.source, block.target) for block in blocks]
    straight = pairs == list(zip(sources, targets, strict=False)) and len(sources) == len(targets)
    return straight and all(block.step is None or block.step.by_channel for block in blocks)
