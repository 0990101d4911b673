"""Feature maps that do not fit the KPU's memory."""

from __future__ import annotations

from pipeline.kpu import limits
from pipeline.kpu.nncase.schedule import Placed
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="does-not-compile",
    limit="2,097,152 bytes for all maps that live at once, placed first-fit",
    replacement=(
        "a smaller image (`kpufit check` says which) or fewer channels here; where only the gaps are in the way, a "
        "different order of widths"
    ),
    source="nncase v1.9.0, runtime_op_utility.h:27-120, src/schedule/freelist.cpp; measured with 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """A layer's input and output lie in the KPU's 2 MiB together with every other live map, each at the lowest address
    where it fits, so that gaps count. What does not fit is an error of the compiler, never a layer for the CPU.
    """
    if site.prediction.kpu_bytes <= limits.KPU_MEMORY_BYTES or not site.predicted.kpu_bytes:
        return None
    for function in site.prediction.program.functions:
        labels = {conv.layers[-1] for conv in function.convs if conv.layers[0] == site.layer.name}
        over = [each for each in function.maps if each.label in labels and _end(each) > limits.KPU_MEMORY_BYTES]
        if over:
            worst = max(over, key=_end)
            live = sum(each.size for each in function.maps if each.born <= worst.born <= each.dies)
            gaps = ": they would fit without the gaps" if live <= limits.KPU_MEMORY_BYTES else ""
            return f"{live:,} bytes of maps live at once, the last of them up to {_end(worst):,}{gaps}"
    return None


def _end(placed: Placed) -> int:
    return placed.start + placed.size
