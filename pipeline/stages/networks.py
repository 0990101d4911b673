"""Networks in and out of a stage's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import fx

from pipeline.network.contract import InputContract, read_contract
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.network.read import load_onnx
from pipeline.replacement.kept import note_kept
from pipeline.replacement.report import Layer


@dataclass(frozen=True)
class Network:
    """A trainable network and what its input is."""

    graph: fx.GraphModule
    contract: InputContract


def load_network(path: Path) -> Network:
    """Read an ONNX file that a stage wrote. Raises NetworkError."""
    model = load_onnx(path)
    return Network(to_torch(model, where=str(path)), read_contract(model, where=str(path)))


def onnx_bytes(network: Network, replaced: Sequence[Layer] = ()) -> bytes:
    """Return a network as an ONNX file with its contract; the same network gives the same bytes.

    Args:
        network: the network.
        replaced: what replacement says of its layers.
    """
    model = to_onnx(network.graph, network.contract)
    note_kept(model, replaced)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
