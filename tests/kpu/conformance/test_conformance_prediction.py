"""What kpufit predicts of every case is what nncase 1.9 made of it: the same operators, memory and bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import onnx
import pytest
from conformance_cases import CASES
from conformance_observed import Observed
from conformance_probe import Observation

from pipeline.kpu.check import check_network
from pipeline.kpu.limits import KPU_MEMORY_BYTES
from pipeline.kpu.memory.kmodel_size import kmodel_bytes
from pipeline.kpu.nncase.graph import Node
from pipeline.kpu.nncase.lower import lower
from pipeline.kpu.nncase.passes import PartsShare
from pipeline.kpu.nncase.program import KpuConv, Program

pytestmark = [pytest.mark.nncase, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Made:
    """What a compiled network is compared by; of a refused one only the outcome counts.

    Attributes:
        outcome: "compiled", "refused" or "fails at run time".
        convs: on the KPU, in running order: kernel, channels and input.
        cpu_ops: in running order.
        heap_bytes, kpu_bytes, kmodel_bytes: as ``Observation`` has them.
    """

    outcome: str
    convs: tuple[str, ...] = ()
    cpu_ops: tuple[str, ...] = ()
    heap_bytes: int = 0
    kpu_bytes: int = 0
    kmodel_bytes: int = 0


def observed_of(seen: Observation) -> Made:
    if seen.outcome in ("refused", "crashed"):
        return Made("refused")
    convs = tuple(" ".join(conv.split(" ")[: 4 if conv.startswith("dw") else 3]) for conv in seen.convs)
    return Made(seen.outcome, convs, seen.cpu_ops, seen.heap_bytes, seen.kpu_bytes, seen.kmodel_bytes)


def predicted_of(model: onnx.ModelProto, parts_share: PartsShare = None) -> Made:
    program = lower(model, prepared=False, parts_share=parts_share)
    if program.refusals or program.kpu_bytes > KPU_MEMORY_BYTES:
        return Made("refused")
    return Made(
        "fails at run time" if program.fails_at_run_time else "compiled",
        tuple(map(_conv_text, program.convs)),
        tuple(op.kind for op in program.cpu_ops),
        program.heap_bytes,
        program.kpu_bytes,
        kmodel_bytes(program, 5),
    )


def _conv_text(conv: KpuConv) -> str:
    _, channels, height, width = conv.in_shape
    kind = "dw " if conv.depthwise else ""
    if not conv.depthwise:  # the register has the weights' channels: fewer than the map's where groups give several
        channels = conv.table_bytes[0] // (conv.kernel**2 * conv.out_channels)
    return f"{kind}{conv.kernel}x{conv.kernel} {channels}→{conv.out_channels} @{height}x{width}"


def for_other_images(model: onnx.ModelProto) -> Iterator[Made]:
    """Predict for every way in which parts of maps may or may not have the calibrated range of the whole."""
    slices: list[Node] = []

    def note(node: Node) -> bool:
        slices.append(node)
        return True

    lower(model, prepared=False, parts_share=note)
    for answers in product((True, False), repeat=len(slices)):
        yield predicted_of(model, _answering(answers))


def _answering(answers: tuple[bool, ...]) -> Callable[[Node], bool]:
    left = iter(answers)
    return lambda _: next(left)


@pytest.mark.parametrize("name", CASES)
def test_the_prediction_is_what_nncase_made(observed: Observed, name: str) -> None:
    model, seen = CASES[name].build(), observed_of(observed[name])
    predicted = predicted_of(model)
    assert predicted == seen or seen in for_other_images(model), (predicted, seen)


def outcomes(model: onnx.ModelProto) -> set[str]:
    """What `check --raw` says may become of a network: more than one where it says that the images decide."""
    checked = check_network(model, raw=True)
    if not checked.prediction.compiles:
        return {"refused"}
    may_fail = any(finding.severity == "may-not-run" for finding in checked.findings)
    return {"compiled", "fails at run time"} if may_fail else {"compiled"}


@pytest.mark.parametrize("name", CASES)
def test_check_says_what_becomes_of_it(observed: Observed, name: str) -> None:
    """And says that the images decide exactly where they do."""
    model = CASES[name].build()
    said = outcomes(model)
    assert observed_of(observed[name]).outcome in said
    possible = {made.outcome for made in for_other_images(model)}
    assert said >= possible, possible
    assert "fails at run time" in possible or said <= {"compiled", "refused"}


def refusals(program: Program) -> list[str]:
    return [refusal.why for refusal in program.refusals]


@pytest.mark.parametrize("words", ["Not supported ONNX opcode: ", "Unsupported unary op", "Can't pull", "has shape"])
def test_refusals_are_in_nncases_words(observed: Observed, words: str) -> None:
    said = {name: seen.message for name, seen in observed.cases.items() if words in seen.message}
    assert said
    for name, message in said.items():
        reasons = refusals(lower(CASES[name].build(), prepared=False))
        assert any(reason.startswith(words) for reason in reasons), (name, message, reasons)


UNNOTICED = frozenset({"weight-loads"})
"""Rules on what the chip gets wrong, and nncase's simulator does not."""
RIGHT = 0.045
"""Relative error below which uint8 arithmetic explains the difference."""
COARSE = frozenset({"arg-max-map"})
"""Right within the steps of uint8, of which the operator makes more."""


@pytest.mark.parametrize("name", CASES)
def test_wrong_numbers_are_found_before_compiling(observed: Observed, name: str) -> None:
    """What differs from ONNX Runtime's numbers has a finding, and what `check --raw` calls wrong does differ."""
    seen = observed[name]
    if seen.outcome != "compiled" or seen.relative_error is None:
        return
    findings = check_network(CASES[name].build(), raw=True).findings
    wrong = {finding.rule for finding in findings if finding.severity == "wrong-numbers"}
    inaccurate = {finding.rule for finding in findings if finding.severity == "accuracy"}
    if seen.relative_error > RIGHT and name not in COARSE:
        assert wrong | inaccurate, seen.relative_error
    if wrong - UNNOTICED:
        assert seen.relative_error > RIGHT, wrong
