"""``kpufit rules``: every limit and trap that ``check`` knows."""

from __future__ import annotations

from pipeline.cli.options import Json
from pipeline.cli.output import print_json


def rules(as_json: Json = False) -> None:
    """Print every limit of the KPU and every trap of nncase 1.9 that `check` knows: what holds, why, what mends it.

    Exit code 0.

    Examples:
        kpufit rules | less
        kpufit rules --json

    """
    from pipeline.kpu.rules import all_rules
    from pipeline.kpu.rules.document import rules_json, rules_markdown

    known = all_rules()
    if as_json:
        print_json(rules_json(known))
    else:
        print(rules_markdown(known), end="")
