"""Arithmetic with constants that no convolution takes."""

from __future__ import annotations

from pipeline.kpu.rules.rule import Site, rule

_OPERATORS = frozenset({"Add", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Sum"})


@rule(
    severity="cpu",
    limit="one number, or an addition or a product with one number a channel right behind a convolution",
    replacement="folded into the convolution before or behind it (`kpufit replace`)",
    source="nncase v1.9.0, fold_conv2d_binary.cpp, fuse_unary.cpp; measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 folds a sum and then a product with one number a channel into the convolution before them, and any
    function with one number into its activation; everything else is a float32 operator of the CPU.
    """
    layer = site.layer
    if layer.op not in _OPERATORS or site.predicted.unit != "cpu":
        return None
    given = [name for name in layer.inputs if name in site.network.constants]
    if len(given) != 1 or len(layer.inputs) != 2:
        return None
    shape = "×".join(map(str, site.network.constants[given[0]])) or "1"
    return f"{layer.op} with constants of shape {shape}"
