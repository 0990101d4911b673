"""Whatever else runs on the CPU."""

from __future__ import annotations

import pipeline.kpu.rules as rule_set
from pipeline.kpu.rules.rule import Site, rule


@rule(
    severity="cpu",
    limit="convolutions and the activations and pools behind them",
    replacement="",
    source="measured with nncase 1.9.0.20230322",
)
def RULE(site: Site) -> str | None:
    """The KPU convolves, and nothing else: nncase 1.9 runs every other operator on the CPU, in float32, with copies of
    its maps in main memory.
    """
    if site.predicted.unit != "cpu":
        return None
    others = (each for each in rule_set.all_rules() if each.severity == "cpu" and each.check is not RULE.check)
    if any(each.check(site) is not None for each in others):
        return None
    return f"{site.layer.op}: {', '.join(dict.fromkeys(site.predicted.cpu_ops))}"
