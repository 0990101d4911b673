"""What nncase makes of a network, as values: functions of the KPU, operators of the CPU, and where everything lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.kpu.nncase.graph import Shape
from pipeline.kpu.nncase.schedule import Placed


@dataclass(frozen=True)
class Tensor:
    """A tensor in main memory.

    Attributes:
        shape: with batch 1.
        size: bytes.
    """

    shape: Shape
    size: int


@dataclass(frozen=True)
class KpuConv:
    """One convolution of the KPU.

    Attributes:
        layers: the network's layers that it does, the convolution first.
        in_shape: of its input, batch × channels × height × width.
        out_shape: of its output, after stride or pool.
        kernel: side, 1 or 3.
        depthwise: whether each channel has a kernel of its own.
        pool: what it keeps of its full-resolution result: "none", "left_top", "max_2_s2", …
        table_bytes: of weights, batch-norm and activation, less what an equal table before it holds already.
    """

    layers: tuple[str, ...]
    in_shape: Shape
    out_shape: Shape
    kernel: int
    depthwise: bool
    pool: str = "none"
    table_bytes: tuple[int, int, int] = (0, 0, 0)

    @property
    def in_channels(self) -> int:
        """Channels of its input."""
        return self.in_shape[1]

    @property
    def out_channels(self) -> int:
        """Channels of its output."""
        return self.out_shape[1]

    @property
    def weight_bytes(self) -> int:
        """uint8 weights, without batch-norm and activation."""
        return self.kernel**2 * self.out_channels * (1 if self.depthwise else self.in_channels)


@dataclass(frozen=True)
class CpuOp:
    """One operator of the CPU.

    Attributes:
        kind: nncase's name of it.
        layers: the network's layers that it does.
        inputs: what it reads, constants left out.
        output: what it gives.
        constants: bytes of each constant that it is the first to read.
        text_bytes: of its code in a kmodel v5.
        reads_image: whether it reads the network's uint8 input.
    """

    kind: str
    layers: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    output: Tensor
    constants: tuple[int, ...] = ()
    text_bytes: int = 0
    reads_image: bool = False


@dataclass(frozen=True)
class Function:
    """Convolutions that run on the KPU without the CPU between them.

    Attributes:
        inputs: uint8 tensors that it takes.
        outputs: uint8 tensors that it gives.
        convs: in running order.
        uploads, downloads, copies: transfers to and from the KPU, and copies within main memory.
        reads_image: whether it takes the network's input as it is.
        maps: feature maps in the KPU's memory.
        data: buffers in main memory that it works in.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    convs: tuple[KpuConv, ...]
    uploads: int
    downloads: int
    copies: int
    reads_image: bool
    maps: tuple[Placed, ...]
    data: tuple[Placed, ...]


@dataclass(frozen=True)
class Refusal:
    """Why nncase makes nothing of a network.

    Attributes:
        layer: the network's layer.
        op: its ONNX operator, or nncase's.
        why: what nncase says.
    """

    layer: str
    op: str
    why: str


def shape_mismatch(given: Shape, wanted: Shape) -> str:
    """Return what nncase says where a value has another shape than what reads it knows."""
    return f"has shape mismatch: [{','.join(map(str, given))}]->[{','.join(map(str, wanted))}]"


@dataclass(frozen=True)
class Program:
    """A network lowered for the K210.

    Attributes:
        input: the uint8 image.
        outputs: what leaves the program, in the network's order.
        steps: functions (called) and CPU operators, in running order.
        data: buffers of main memory between the steps.
        shapes: of every tensor of the network that is not a constant, batch 1.
        refusals: why it does not compile; empty where it does, but for the KPU's memory.
        fails_at_run_time: why it cannot run although it compiles.
    """

    input: Tensor
    outputs: tuple[Tensor, ...]
    steps: tuple[Function | CpuOp, ...]
    data: tuple[Placed, ...]
    shapes: Mapping[str, Shape]
    refusals: tuple[Refusal, ...] = ()
    fails_at_run_time: tuple[Refusal, ...] = ()

    @property
    def functions(self) -> tuple[Function, ...]:
        """The functions in the order of their calls."""
        return tuple(step for step in self.steps if isinstance(step, Function))

    @property
    def cpu_ops(self) -> tuple[CpuOp, ...]:
        """The CPU operators in running order."""
        return tuple(step for step in self.steps if isinstance(step, CpuOp))

    @property
    def convs(self) -> tuple[KpuConv, ...]:
        """The KPU's convolutions in running order."""
        return tuple(conv for function in self.functions for conv in function.convs)

    @property
    def kpu_bytes(self) -> int:
        """Highest byte of the KPU's memory that feature maps reach."""
        return max((_top(function.maps) for function in self.functions), default=0)

    @property
    def heap_bytes(self) -> int:
        """Main memory that the program works in: data of the stack machine's module and of the KPU's."""
        return _top(self.data) + max((_top(function.data) for function in self.functions), default=0)


def _top(placed: tuple[Placed, ...]) -> int:
    return max((buffer.start + -(-buffer.size // 8) * 8 for buffer in placed), default=0)
