"""Parts of a map's channels that convolutions read."""

from __future__ import annotations

from pipeline.kpu.rules import split_offset
from pipeline.kpu.rules.parts import axis_of_parts, read_by_convolutions
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="memory",
    limit="no Split or Slice of channels in front of a convolution",
    replacement="a convolution for each part in place of the one that is split (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """A part whose calibrated range is not that of the whole map is dequantised and quantised again, in float on the
    CPU and in main memory.
    """
    if axis_of_parts(site) != 1 or split_offset.RULE.check(site) is not None:
        return None
    reading = read_by_convolutions(site, site.layer.outputs)
    return f"read by {', '.join(layer.name for layer in reading)}" if reading else None
