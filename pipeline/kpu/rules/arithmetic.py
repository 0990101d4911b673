"""Arithmetic between two computed tensors on the CPU."""

from __future__ import annotations

from pipeline.kpu.rules.rule import Site, rule

_OPERATORS = frozenset({"Add", "Div", "Max", "Mean", "Min", "Mul", "Pow", "Sub", "Sum"})


@rule(
    severity="cpu",
    limit="a sum of two equal maps of at most 512 channels, from 4×4 to 256×512",
    replacement="a sum; or what it does, done by a convolution (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 runs every product, difference or maximum of two tensors, and any sum that is not of two equal maps or
    has 2C > 1024 channels, in float32 on the CPU.
    """
    layer = site.layer
    if layer.op not in _OPERATORS or site.predicted.unit != "cpu":
        return None
    computed = [name for name in layer.inputs if name and name not in site.network.constants]
    if len(computed) < 2:
        return None
    shapes = ("×".join(map(str, site.network.shapes.get(name, ())[1:])) for name in computed)
    return f"{layer.op} of {' and '.join(shapes)}"
