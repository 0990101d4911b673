"""docs/rules.md is what the rules say."""

from __future__ import annotations

from pipeline.kpu.rules import all_rules
from pipeline.kpu.rules.document import DOCUMENT, rules_json, rules_markdown


def test_the_document_is_up_to_date() -> None:
    """`.venv/bin/python -m pipeline.kpu.rules.document` writes it."""
    assert DOCUMENT.read_text() == rules_markdown(all_rules())


def test_all_rules_are_in_it() -> None:
    page = rules_markdown(all_rules())
    assert [line[4:] for line in page.splitlines() if line.startswith("### ")] == [rule.name for rule in all_rules()]
    assert len(rules_json(all_rules())) == len(all_rules())
