"""Activations of layers that run on the CPU."""

from __future__ import annotations

from pipeline.kpu.rules.folded import ELEMENTWISE
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="behind a layer of the KPU",
    replacement="whatever mends the layer before it",
    source="measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """An activation runs where the layer before it runs: behind one of the CPU it is part of that, or a table that the
    CPU looks up.
    """
    layer = site.layer
    if site.predicted.unit != "cpu" or layer.op not in ELEMENTWISE:
        return None
    computed = [name for name in layer.inputs if name and name not in site.network.constants]
    if len(computed) != 1 or any(len(site.network.constants.get(name, ())) > 1 for name in layer.inputs):
        return None
    source = site.network.before(layer, layer.inputs.index(computed[0]))
    return f"{layer.op} behind {source.op}" if source is not None else f"{layer.op} on the image"
