"""Rows or columns of a map that a convolution reads."""

from __future__ import annotations

from pipeline.kpu.rules.parts import axis_of_parts, is_bounded, read_by_convolutions
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="wrong-numbers",
    limit="no Slice or Split of rows or columns in front of a convolution",
    replacement="a convolution without padding, which crops by itself; or the image cropped beforehand",
    source="measured with nncase 1.9.0.20230322: relative error 0.9 to 1.3",
)
def RULE(site: Site) -> str | None:
    """Where the part has another calibrated range than the map, nncase 1.9 quantises it anew and reads the rows of the
    whole map in doing so: the convolution gets other pixels.
    """
    axis = axis_of_parts(site)
    if axis not in (2, 3) or is_bounded(site):
        return None
    reading = read_by_convolutions(site, site.layer.outputs)
    if not reading:
        return None
    return f"{'rows' if axis == 2 else 'columns'} read by {', '.join(layer.name for layer in reading)}"
