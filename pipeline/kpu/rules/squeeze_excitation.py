"""Squeeze-and-excitation."""

from __future__ import annotations

from pipeline.kpu.head import is_global_pool
from pipeline.kpu.layers import Network
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="accuracy",
    limit="no product of a map with a vector of its own channels' means",
    replacement="removed, or a 1×1 convolution, learned (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322: relative error up to 0.28",
)
def RULE(site: Site) -> str | None:
    """The gate is a tiny convolution, all of whose least inputs nncase 1.9 maps to 0: it silences the channel that is
    weakest in each image. The pool and the product run in float32 on the CPU.
    """
    layer = site.layer
    if layer.op != "Mul" or len(layer.out_shape) != 4 or len(layer.inputs) != 2:
        return None
    for gate in layer.inputs:
        shape = site.network.shapes.get(gate, ())
        if shape[2:] == (1, 1) and layer.out_shape[2:] != (1, 1) and _from_global_pool(site.network, gate):
            return f"{shape[1]} channels scaled by what their means say"
    return None


def _from_global_pool(network: Network, tensor: str) -> bool:
    layer = network.producers.get(tensor)
    for _ in range(12):
        if layer is None:
            return False
        if is_global_pool(layer):
            return True
        layer = network.before(layer)
    return False
