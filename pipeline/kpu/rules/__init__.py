"""The KPU's limits and nncase 1.9's traps, one rule a module; the rule set is the folder."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from pipeline.kpu.rules.rule import SEVERITIES, Finding, Rule, Site

__all__ = ["Finding", "Rule", "Site", "all_rules"]


@cache
def all_rules() -> tuple[Rule, ...]:
    """Return every rule of the folder, the worst severity first, then by name."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        made = getattr(importlib.import_module(f"{__name__}.{module.name}"), "RULE", None)
        if isinstance(made, Rule):
            found.append(made)
    return tuple(sorted(found, key=lambda each: (SEVERITIES.index(each.severity), each.name)))
