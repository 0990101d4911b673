"""LeakyRelu with a slope above 1."""

from __future__ import annotations

from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="wrong-numbers",
    limit="slope ≤ 1",
    replacement="−a in the weights before, a LeakyRelu of slope 1/a, and −1 in the weights behind",
    source="measured with nncase 1.9.0.20230322: relative error 0.39",
)
def RULE(site: Site) -> str | None:
    """nncase 1.9 computes LeakyRelu as the greater of x and slope·x, which is the other branch where the slope is above
    1.
    """
    if site.layer.op != "LeakyRelu":
        return None
    slope = float(site.layer.attributes.get("alpha", 0.01))
    return f"slope {slope:g}" if slope > 1 else None
