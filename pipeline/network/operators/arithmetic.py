"""Add (a Sum of two), Sub, Mul, Div and Concat ⇄ the modules of the same names."""

from __future__ import annotations

from torch import nn

from pipeline.network.modules import Add, Concat, Div, Mul, Sub
from pipeline.network.operation import Operation
from pipeline.network.operators.form import Layer, Lifted, Lifter, Writer, Written, write_node

_BINARY: dict[str, type[nn.Module]] = {"Add": Add, "Sub": Sub, "Mul": Mul, "Div": Div}


def lift_binary(operation: Operation) -> Lifted:
    """Return the module of an operator of two inputs; constant ones become buffers of the network."""
    return Lifted(_BINARY[operation.op](), data=(0, 1))


def lift_sum(operation: Operation) -> Lifted:
    """Return the ``Add`` that a Sum of two is."""
    if len(operation.inputs) != 2:
        raise operation.refuse(f"it adds {len(operation.inputs)} values at once instead of 2")
    return Lifted(Add(), data=(0, 1))


def lift_concat(operation: Operation) -> Lifted:
    """Return the ``Concat`` of all inputs."""
    axis = operation.axis(operation.attributes["axis"])
    return Lifted(Concat(axis), data=tuple(range(len(operation.inputs))))


def _plain(op: str) -> Writer:
    return lambda _, layer: write_node(layer, op)


def _write_concat(concat: Concat, layer: Layer) -> Written:
    return write_node(layer, "Concat", axis=concat.dim)


LIFT: dict[str, Lifter] = {**dict.fromkeys(_BINARY, lift_binary), "Sum": lift_sum, "Concat": lift_concat}
WRITE: dict[type[nn.Module], Writer] = {
    **{kind: _plain(op) for op, kind in _BINARY.items()},
    Concat: _write_concat,
}
