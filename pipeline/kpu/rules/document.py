"""``docs/rules.md`` and what ``kpufit rules`` prints, from the rules themselves.

``python -m pipeline.kpu.rules.document`` writes the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.files import write_text
from pipeline.kpu.rules import Rule, all_rules
from pipeline.kpu.rules.rule import SEVERITIES, Severity

DOCUMENT = Path(__file__).parents[3] / "docs" / "rules.md"

_TITLES: dict[Severity, str] = {
    "wrong-numbers": "Wrong numbers: it compiles and computes something else",
    "does-not-compile": "Does not compile",
    "may-not-run": "Runs, or fails at run time: the calibration images decide",
    "cpu": "Falls to the CPU, in float32",
    "memory": "Costs memory and transfers",
    "accuracy": "Costs accuracy",
}


def rules_json(rules: Sequence[Rule]) -> list[dict[str, str]]:
    """Return the rules as plain values."""
    return [
        {
            "rule": rule.name,
            "severity": rule.severity,
            "limit": rule.limit,
            "why": rule.why,
            "replacement": rule.replacement,
            "source": rule.source,
        }
        for rule in rules
    ]


def rules_markdown(rules: Sequence[Rule]) -> str:
    """Return the rules as a page, the worst severity first."""
    lines = [
        "# What `kpufit check` knows about the KPU and nncase 1.9",
        "",
        "Made from the rules in `pipeline/kpu/rules` by `python -m pipeline.kpu.rules.document`; do not edit.",
    ]
    for severity in SEVERITIES:
        members = [rule for rule in rules if rule.severity == severity]
        if members:
            lines += ["", f"## {_TITLES[severity]}"]
        for rule in members:
            lines += ["", f"### {rule.name}", rule.why, "", f"- **What holds:** {rule.limit}"]
            if rule.replacement:
                lines.append(f"- **What mends it:** {rule.replacement}")
            lines.append(f"- **Known from:** {rule.source}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_text(DOCUMENT, rules_markdown(all_rules()))
