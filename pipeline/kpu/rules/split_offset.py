"""Parts of a map that the KPU reads at an offset, beside another reader."""

from __future__ import annotations

from pipeline.kpu.rules.parts import axis_of_parts, is_bounded, parts_behind_the_first, read_by_convolutions
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="does-not-compile",
    limit="all parts of a map read by convolutions, or none",
    replacement="two convolutions that give the two parts, in place of one that is split (`kpufit replace`)",
    source='measured with nncase 1.9.0.20230322 ("Invalid argument" in its simulator)',
)
def RULE(site: Site) -> str | None:
    """It compiles and then fails at run time: where a part has the calibrated range of the whole (as behind a ReLU6),
    the KPU is handed the second part in place, at an address that the runtime does not accept, as soon as anything
    but convolutions reads the map too.
    """
    if axis_of_parts(site) != 1 or not is_bounded(site):
        return None
    reading = read_by_convolutions(site, parts_behind_the_first(site))
    if not reading:
        return None
    map_ = site.layer.inputs[0]
    tensors = (map_, *site.layer.outputs)
    others = [
        reader
        for tensor in tensors
        for reader in site.network.readers.get(tensor, ())
        if reader.name != site.layer.name and reader not in read_by_convolutions(site, tensors)
    ]
    leaves = any(tensor in site.network.outputs for tensor in tensors)
    if not others and not leaves:
        return None
    return f"{reading[0].name} reads a part, {others[0].name if others else 'an output'} the map as well"
