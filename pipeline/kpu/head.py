"""A classifier's head: the layers at the end of a network that kpufit carries in float, and need not run on the KPU."""

from __future__ import annotations

from pipeline.kpu.layers import Layer, Network

_VIEWS = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
_PRODUCTS = frozenset({"Gemm", "MatMul"})
_LAST = frozenset({"Softmax", "LogSoftmax", "Sigmoid"})


def head_layers(network: Network) -> frozenset[str]:
    """Return the names of the head's layers: global pool, reshapes, one product, softmax; empty where there is none.

    A head ends in the network's only output, is one chain, and begins with a global pool or one product.
    """
    if len(network.outputs) != 1:
        return frozenset()
    chain: list[Layer] = []
    products = 0
    layer = network.producers.get(network.outputs[0])
    while layer is not None and _belongs(network, layer, products):
        chain.append(layer)
        products += layer.op in _PRODUCTS
        if is_global_pool(layer):
            break
        source = network.before(layer)
        if source is None or len(network.after(source)) > 1:
            break
        layer = source
    pooled = any(is_global_pool(layer) for layer in chain)
    return frozenset(layer.name for layer in chain) if pooled or products else frozenset()


def is_global_pool(layer: Layer) -> bool:
    """Whether a layer averages (or takes the maximum of) every channel over the whole map."""
    if layer.op in ("GlobalAveragePool", "GlobalMaxPool"):
        return True
    if layer.op in ("AveragePool", "MaxPool"):
        return tuple(layer.attributes.get("kernel_shape", ())) == layer.in_shape[2:] and not any(layer.pads)
    return layer.op in ("ReduceMean", "ReduceMax") and len(layer.in_shape) == 4 and set(layer.out_shape[2:]) <= {1}


def _belongs(network: Network, layer: Layer, products: int) -> bool:
    if layer.op in _VIEWS or layer.op in _LAST or is_global_pool(layer):
        return True
    if layer.op == "Add":  # the bias of a MatMul
        return any(name in network.constants for name in layer.inputs)
    return layer.op in _PRODUCTS and products == 0 and bool(network.weights(layer))
