"""The rules on wrong numbers and refusals, proven by nncase itself on the networks that break them."""

from __future__ import annotations

import pytest
from kpu.conformance.conformance_probe import Observation, observe
from rules_networks import PAIRS, Graph

from pipeline.kpu.check import check_network
from pipeline.kpu.rules import all_rules

pytestmark = [pytest.mark.nncase, pytest.mark.timeout(300)]

WRONG = 0.1
RIGHT = 0.045

SEVERITY = {rule.name: rule.severity for rule in all_rules()}
JUDGED = [rule for rule in PAIRS if SEVERITY[rule] in ("wrong-numbers", "does-not-compile") and rule != "weight-loads"]
"""nncase's simulator does not notice weights that are not loaded."""


def without_another_finding(graph: Graph) -> bool:
    """Whether no other rule says that the numbers are wrong, or may be."""
    findings = check_network(graph.model(), raw=True).findings
    return not any(finding.severity in ("wrong-numbers", "accuracy") for finding in findings)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Observation]:
    models = {}
    for rule in JUDGED:
        for kind in ("breaks", "holds"):
            for index, graph in enumerate(getattr(PAIRS[rule], kind)):
                models[f"{rule}-{kind}-{index}"] = graph().model()
    return observe(models, tmp_path_factory.mktemp("rules"))


def test_what_breaks_a_rule_is_wrong_or_refused(observed: dict[str, Observation]) -> None:
    for rule in JUDGED:
        for index in range(len(PAIRS[rule].breaks)):
            seen = observed[f"{rule}-breaks-{index}"]
            if SEVERITY[rule] == "does-not-compile":
                assert seen.outcome != "compiled", (rule, index)
            else:
                assert seen.outcome == "compiled", (rule, index, seen.message)
                assert seen.relative_error is not None
                assert seen.relative_error > WRONG, (rule, index, seen.relative_error)


def test_what_holds_is_neither(observed: dict[str, Observation]) -> None:
    for rule in JUDGED:
        for index, graph in enumerate(PAIRS[rule].holds):
            seen = observed[f"{rule}-holds-{index}"]
            assert seen.outcome == "compiled", (rule, index, seen.message)
            if without_another_finding(graph()):
                assert seen.relative_error is not None
                assert seen.relative_error < RIGHT, (rule, index, seen.relative_error)
