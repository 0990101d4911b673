"""More than 64 weight loads."""

from __future__ import annotations

from pipeline.kpu import limits
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="wrong-numbers",
    limit="64 loads: ⌈C_out / n⌉, n = min(C_out, ⌊30720 / (k²·C_in)⌋)",
    replacement="pruned to the limit, factorised, or split (`kpufit replace`)",
    source=(
        "nncase v1.9.0, codegen/ops/kpu_conv2d.cpp:40-48; measured with nncase 1.9.0.20230322: 3×3 512→512 "
        "encodes 22 loads instead of 86"
    ),
)
def RULE(site: Site) -> str | None:
    """The KPU holds 30720 weights at a time and counts the loads in 6 bits. nncase 1.9 does not check: it writes the
    number without its upper bits, and the chip computes only some of the channels. Its simulator does not notice.
    """
    loads = site.predicted.weight_loads
    return f"{loads} loads" if loads > limits.MAX_WEIGHT_LOADS else None
