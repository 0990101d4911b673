"""Parts of a map that the KPU reads at an offset, beside another reader."""

from __future__ import annotations

from pipeline.kpu.rules.parts import parts_behind_the_first, read_by_convolutions
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="may-not-run",
    limit="one part of a map read by convolutions, and nothing else of it read",
    replacement="two convolutions that give the two parts, in place of one that is split (`kpufit replace`)",
    source='measured with nncase 1.9.0.20230322 ("Invalid argument" in its simulator)',
)
def RULE(site: Site) -> str | None:
    """It compiles, and whether it then runs is up to the calibration images: where they give a part that does not begin
    the map the range of the whole (behind a ReLU6 nearly all do), the KPU is handed that part in place, at an address
    that the runtime does not accept once the CPU reads the map too: for another layer, or for a part whose range is
    another.
    """
    if site.layer.name not in {failure.layer for failure in site.prediction.fails_by_images}:
        return None
    reading = read_by_convolutions(site, parts_behind_the_first(site))
    return f"{reading[0].name} reads a part of it" if reading else "a convolution reads a part of it"
