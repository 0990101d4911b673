"""The rules, one a file: each module of this folder defines one ``RULE``. Adding a rule is adding a file.

Exact rules come before learned ones, each kind in the order of its names; ``rewrite`` repeats until none applies, so
the order matters only where two rules match the same layer.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from pipeline.replacement.rule import Rule


@cache
def all_rules() -> tuple[Rule, ...]:
    """Return every rule of this folder."""
    modules = sorted(found.name for found in pkgutil.iter_modules(__path__))
    rules: list[Rule] = [importlib.import_module(f"{__name__}.{name}").RULE for name in modules]
    return tuple(sorted(rules, key=lambda rule: rule.kind != "exact"))
