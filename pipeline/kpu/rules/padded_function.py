"""Functions behind a Pad that are not 0 at 0."""

from __future__ import annotations

import numpy as np

from pipeline.kpu.layers import Layer
from pipeline.kpu.rules.folded import ELEMENTWISE, PASSED, function_up_to, is_last
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="wrong-numbers",
    limit="f(padding) = padding",
    replacement="the function before the Pad, and the Pad with its value at 0 (`kpufit replace`)",
    source="nncase v1.9.0, fused_unary_motion.cpp; measured with 1.9.0.20230322: Sigmoid, relative error 0.43",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 moves a function over the Pad before it into the convolution, and leaves the padding as it was: a
    border of 0 where Sigmoid would have made it 0.5.
    """
    if site.layer.op not in ELEMENTWISE or site.predicted.unit != "kpu" or not is_last(site):
        return None
    function = function_up_to(site, PASSED - {"Identity", "Dropout"})
    pad = _pad_before(site)
    if pad is None or function is None:
        return None
    value = pad.attributes.get("value", 0.0)
    if len(pad.inputs) > 2 and pad.inputs[2]:
        given = site.network.array(pad.inputs[2])
        value = 0.0 if given is None else float(given.reshape(-1)[0])
    changed = float(function.values(np.array([float(value)]))[0])
    return f"f({value:.3g}) = {changed:.2g}" if abs(changed - value) > 1e-3 else None


def _pad_before(site: Site) -> Layer | None:
    """Return the Pad that the function reads, over its own operators."""
    layer: Layer | None = site.layer
    while layer is not None and (layer.op in ELEMENTWISE or layer.op in PASSED):
        layer = next((found for name in layer.inputs if (found := site.network.producers.get(name))), None)
    return layer if layer is not None and layer.op == "Pad" else None
