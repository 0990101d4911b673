"""Global pools outside a classifier's head."""

from __future__ import annotations

from pipeline.kpu.head import is_global_pool
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="only in the head: global pool, one product, softmax at the end",
    replacement="a stride or 2×2 pools down to the size wanted; in a head, a Gemm behind the pool",
    source="measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """A mean over a whole map runs in float32 on the CPU. In a classifier's head kpufit means it to; anywhere else it
    stops the KPU and takes the map through main memory.
    """
    return "a global pool" if is_global_pool(site.layer) and site.predicted.unit == "cpu" else None
