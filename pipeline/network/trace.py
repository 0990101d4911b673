"""An ``nn.Module`` → ``torch.fx.GraphModule``, the modules that ``to_onnx`` knows kept whole."""

from __future__ import annotations

from torch import fx, nn

from pipeline.network.names import INPUT
from pipeline.network.operators import WRITE


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in WRITE or super().is_leaf_module(m, module_qualified_name)


def trace(network: nn.Module) -> fx.GraphModule:
    """Return ``network`` (of one input) as a graph; its modules and weights are shared, not copied."""
    if isinstance(network, fx.GraphModule):
        return network
    tracer = _Tracer()
    graph = tracer.trace(network)
    placeholder = next(node for node in graph.nodes if node.op == "placeholder")
    placeholder.target = INPUT
    traced = fx.GraphModule(tracer.root, graph, class_name="Network")
    traced.train(network.training)
    return traced
