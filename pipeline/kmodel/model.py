"""One typed model of a kmodel, whatever its version.

A program is a flat tuple of steps in the order they run. Each step names the memory it reads and writes as ``Range``s
(location, byte start, byte size, type, shape), so a simulator needs five byte arrays and no knowledge of the file:
main memory (``main_bytes`` long), KPU memory (2 MiB), constants, and in v5 the input and output tensors. v5's
functions are inlined where they are called, their ranges mapped through the call's operands.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.kmodel.convolution import Activation, BatchNorm, KpuConv, pack_activation
from pipeline.kmodel.memory import KPU_MEMORY_BYTES, DType, KpuLayout, Location, Range, kpu_bytes
from pipeline.kmodel.registers import Pool, Registers
from pipeline.kmodel.steps import Conv2d, Step, Unknown

__all__ = [
    "KPU_MEMORY_BYTES",
    "Activation",
    "BatchNorm",
    "Bytes",
    "DType",
    "Kmodel",
    "KpuConv",
    "KpuLayout",
    "Location",
    "Pool",
    "Range",
    "Registers",
    "Step",
    "kpu_bytes",
    "pack_activation",
]


@dataclass(frozen=True)
class Bytes:
    """A file's bytes by purpose; the sum is the file's size."""

    header: int = 0
    weights: int = 0
    batch_norm: int = 0
    activation: int = 0
    code: int = 0
    """Register blocks, operator bodies and stack-machine text."""
    constants: int = 0
    padding: int = 0
    trailing: int = 0
    """Behind the model: nothing reads them."""

    @property
    def total(self) -> int:
        """The file's size."""
        return (
            self.header + self.weights + self.batch_norm + self.activation
            + self.code + self.constants + self.padding + self.trailing
        )  # fmt: skip


@dataclass(frozen=True)
class Kmodel:
    """A kmodel.

    Attributes:
        version: 3, 4 or 5.
        inputs: v3, v4: where the caller puts the input, in MAIN or KPU (KPU: uint8 C×H×W in the row layout);
            v5: ranges in INPUT.
        outputs: ranges in MAIN (v3, v4; outputs of a v3 file have no shape but that of the step that writes them) or
            in OUTPUT (v5).
        steps: the program.
        main_bytes: bytes of general SRAM the program works in (``Location.MAIN``), beside the file's own bytes and
            the caller's tensors; what a firmware must have free.
        constants: the bytes that ``Location.CONST`` ranges point into.
        sizes: the file's bytes by purpose.
        early: v5 only: the 24-byte header of nncase's snapshots of July and August 2021.
        flags: v3: header flags (bit 0: 8-bit weights); v4, v5: as stored.
        target: v4: header word (0 CPU, 1 K210).
        reserved: v4: the header's last word, which nncase 0.2 leaves uninitialised.
        step_flags: v3: each layer's flags word (bit 0: the layer writes general SRAM); () elsewhere.
        trailing: bytes behind the model, kept.
        notes: what a reader found worth saying, one sentence each.
    """

    version: int
    inputs: tuple[Range, ...]
    outputs: tuple[Range, ...]
    steps: tuple[Step, ...]
    main_bytes: int
    constants: bytes = b""
    sizes: Bytes = field(default_factory=Bytes)
    early: bool = False
    flags: int = 0
    target: int = 1
    reserved: int = 0
    step_flags: tuple[int, ...] = ()
    trailing: bytes = b""
    notes: tuple[str, ...] = ()

    @property
    def convolutions(self) -> tuple[KpuConv, ...]:
        """The KPU convolutions, in order."""
        return tuple(step for step in self.steps if isinstance(step, KpuConv))

    @property
    def heap_bytes(self) -> int:
        """What the model needs in general SRAM beside its own bytes: v3's and v4's main_mem, v5's data pools."""
        return self.main_bytes

    @property
    def kpu_bytes(self) -> int:
        """Feature-map memory in use: from the lowest to the highest byte that any step touches.

        From the instructions: v5's header always says 2 MiB. Some compilers fill the memory from its end.
        """
        ranges = [r for step in self.steps for r in (*step.inputs, *step.outputs)] + list(self.inputs)
        kpu = [r for r in ranges if r.location is Location.KPU]
        return max((r.end for r in kpu), default=0) - min((r.start for r in kpu), default=0)

    @property
    def cpu_steps(self) -> tuple[Step, ...]:
        """The steps that compute on the CPU (all but convolutions and transfers)."""
        return tuple(step for step in self.steps if type(step).__name__ not in {"KpuConv", "Upload", "Download"})

    @property
    def has_cpu_convolution(self) -> bool:
        """Whether any convolution runs on the CPU."""
        return any(
            isinstance(step, Conv2d) or (isinstance(step, Unknown) and "conv" in step.name) for step in self.steps
        )
