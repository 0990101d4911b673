"""An ``nn.Module`` → ``torch.fx.GraphModule``, the modules that ``to_onnx`` knows kept whole."""

from __future__ import annotations

from collections import OrderedDict

from torch import fx, nn

from pipeline.errors import NetworkError
from pipeline.network.names import INPUT
from pipeline.network.operators import WRITE


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in WRITE or super().is_leaf_module(m, module_qualified_name)


def trace(network: nn.Module) -> fx.GraphModule:
    """Return ``network`` (of one input) as a graph; its modules and weights are shared, not copied.

    Raises:
        NetworkError: its ``forward`` depends on values, which no graph can hold.
    """
    if isinstance(network, fx.GraphModule):
        return network
    if type(network) in WRITE:
        network = nn.Sequential(OrderedDict(layer=network)).train(network.training)
    tracer = _Tracer()
    try:
        graph = tracer.trace(network)
    except (fx.proxy.TraceError, TypeError) as error:
        raise NetworkError(
            f"its forward cannot be traced ({str(error).splitlines()[0]})",
            where=type(network).__name__,
            remedy="export the network to ONNX and give that file",
        ) from error
    placeholder = next(node for node in graph.nodes if node.op == "placeholder")
    placeholder.target = INPUT
    traced = fx.GraphModule(tracer.root, graph, class_name="Network")
    traced.train(network.training)
    return traced
