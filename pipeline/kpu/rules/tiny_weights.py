"""Output channels whose weights are all tiny."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.kpu.rules.convolution import only_reader
from pipeline.kpu.rules.rule import Site, rule

_SMALLEST = 0.01
_SHOWN = 3

Weights = NDArray[np.float32]


@rule(
    severity="accuracy",
    limit="a weight of at least 0.01 in every channel (or none but zeros)",
    replacement="the channel scaled up, and the layer behind it down (quantise's equalisation does it)",
    source="measured with nncase 1.9.0.20230322: largest weight 0.0015 → 5 %, 0.0005 → 14 %, 0.00005 → 100 %",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 widens very small ranges before it quantises them: a channel whose largest weight is below 0.01 is
    left with a few of the 256 codes.
    """
    layer = site.layer
    if layer.op not in ("Conv", "Gemm", "MatMul") or site.predicted.unit != "kpu" or not site.network.weights(layer):
        return None
    array = site.network.array(layer.inputs[1])
    if array is None or not array.size:
        return None
    largest = _largest(site, array) * np.abs(_folded_scale(site, array))
    tiny = np.flatnonzero((largest < _SMALLEST) & (largest > 0))
    if not tiny.size:
        return None
    shown = ", ".join(map(str, tiny[:_SHOWN])) + (", …" if tiny.size > _SHOWN else "")
    return f"{tiny.size} of {largest.size} channels ({shown}), the least {largest[tiny].min():.2g}"


def _largest(site: Site, array: NDArray[np.generic]) -> Weights:
    """Return the largest absolute weight of each output channel, without a copy of all weights."""
    by_row = site.layer.op == "Conv" or bool(site.layer.attributes.get("transB"))
    rows = array.reshape(array.shape[0], -1)
    axis = 1 if by_row else 0
    largest: Weights = np.maximum(rows.max(axis=axis), -rows.min(axis=axis))
    return largest


def _folded_scale(site: Site, array: NDArray[np.generic]) -> NDArray[np.float64] | float:
    """Return what a BatchNormalization, that is folded before nncase sees it, multiplies each channel by."""
    after = only_reader(site, site.layer)
    if site.raw or after is None or after.op != "BatchNormalization" or len(after.inputs) < 5:
        return 1.0
    scale, variance = site.network.array(after.inputs[1]), site.network.array(after.inputs[4])
    if scale is None or variance is None:
        return 1.0
    epsilon = float(after.attributes.get("epsilon", 1e-5))
    with np.errstate(all="ignore"):  # a damaged file's variance may be 0 or negative
        result: NDArray[np.float64] = scale / np.sqrt(variance.astype(np.float64) + epsilon)
    return result
