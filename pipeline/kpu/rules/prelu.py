"""PRelu with a slope a channel."""

from __future__ import annotations

from pipeline.kpu.rules.convolution import works_on_cpu
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="one slope for all channels",
    replacement="LeakyReLU with the mean slope, learned (`kpufit replace`)",
    source="measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """The KPU has one activation table a layer, so slopes that differ between channels become float32 products on the
    CPU, and the convolution runs twice.
    """
    if site.layer.op != "PRelu" or not works_on_cpu(site, "binary"):
        return None
    slopes = site.network.constants.get(site.layer.inputs[1], ())
    return f"slopes of shape {'×'.join(map(str, slopes))}"
