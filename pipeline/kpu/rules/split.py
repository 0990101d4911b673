"""Parts of a map's channels that convolutions read."""

from __future__ import annotations

from pipeline.kpu.rules.parts import axis_of_parts, is_bounded, read_by_convolutions
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="memory",
    limit="no Split or Slice of channels in front of a convolution",
    replacement="a convolution for each part in place of the one that is split (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """A part whose calibrated range is not that of the whole map is dequantised and quantised again, in float on the
    CPU and in main memory, before the KPU reads it.
    """
    if axis_of_parts(site) != 1 or is_bounded(site):
        return None
    reading = read_by_convolutions(site, site.layer.outputs)
    return f"read by {', '.join(layer.name for layer in reading)}" if reading else None
