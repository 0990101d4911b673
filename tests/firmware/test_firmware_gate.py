"""The gate: each check fails for its own reason, and says how to mend it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.firmware.gate import judge, judge_together
from pipeline.firmware.profile import profiles
from pipeline.firmware.verdict import Accuracies, Check, KmodelFacts, LayerFacts, Verdict
from pipeline.recipe import Gate, Target

ROOT = Path(__file__).parents[2]
GATE = Gate(max_drop=0.01)
KNOWN = {profile.name: profile for profile in profiles(ROOT)}
GOOD = KmodelFacts(
    version=4,
    kmodel_bytes=60_000,
    heap_bytes=20_000,
    kpu_bytes=100_000,
    layers=(LayerFacts("conv1", 10_000, 1), LayerFacts("conv2", 40_000, 4)),
    cpu_ops=("dequantize", "reduce", "matmul"),
    output="float32",
    latency_ms=3.5,
)
CHECKS = [
    "memory",
    "kmodel version",
    "file size",
    "model bytes",
    "kpu memory",
    "weight loads",
    "cpu convolutions",
    "output type",
    "accuracy",
]


def gate(
    facts: KmodelFacts, firmware: str = "maixpy-full", accuracies: Accuracies | None = None, **target: object
) -> Verdict:
    settings = Target(firmware=firmware, **target)  # type: ignore[arg-type]
    return judge(facts, KNOWN[firmware], settings, GATE, accuracies, others=list(KNOWN.values()))


def only_failure(verdict: Verdict, name: str) -> Check:
    assert [check.name for check in verdict.failures] == [name]
    assert not verdict.accepted
    check = verdict.failures[0]
    assert check.message
    assert check.remedies
    return check


def test_a_kmodel_that_fits_is_accepted_with_every_check_reported() -> None:
    verdict = gate(GOOD, accuracies=Accuracies(0.93, 0.925))
    assert verdict.accepted
    assert [check.name for check in verdict.checks] == CHECKS


def test_json_is_the_stable_form() -> None:
    values = json.loads(json.dumps(gate(GOOD, accuracies=Accuracies(0.93, 0.925)).to_json(), allow_nan=False))
    assert list(values) == [
        "accepted", "firmware", "kmodel_version", "checks", "kmodel_bytes", "heap_bytes", "kpu_bytes", "latency_ms",
        "cpu_ops",
    ]  # fmt: skip
    checks = {check["name"]: check for check in values["checks"]}
    assert checks["memory"]["needed_bytes"] == 80_737
    assert checks["memory"]["limit_bytes"] == 2_000_000
    assert checks["accuracy"] | {"message": ""} == {
        "name": "accuracy", "ok": True, "float": 0.93, "kmodel": 0.925, "max_drop": 0.01, "min_accuracy": None,
        "message": "",
    }  # fmt: skip


def test_too_large_for_full_names_layers_and_remedies_in_order() -> None:
    large = replace(GOOD, kmodel_bytes=2_309_407, heap_bytes=0)
    verdict = gate(large)
    check = only_failure(verdict, "memory")
    assert check.figures["needed_bytes"] == 2_310_144
    assert check.figures["over_bytes"] == 310_144
    assert [entry["layer"] for entry in check.by] == ["conv2", "conv1"]
    firmware, prune, c_sdk = check.remedies
    assert "maixpy-minimum-v4" in firmware
    assert "maixpy-minimum," not in firmware  # loads v3 only
    assert "target.model_bytes: 1999263" in prune
    assert "87%" in prune
    assert "c-sdk" in c_sdk
    assert "310,144 over" in check.message


def test_what_the_memory_remedy_promises_is_accepted() -> None:
    large = replace(GOOD, kmodel_bytes=2_309_407)
    promised = gate(large).failures[0].remedies[1]
    room = int(promised.split("target.model_bytes: ")[1].rstrip(")"))
    assert gate(replace(large, kmodel_bytes=room)).accepted
    assert not gate(replace(large, kmodel_bytes=room + 1)).accepted


def test_too_much_main_memory_is_not_mended_by_pruning_bytes() -> None:
    check = only_failure(gate(replace(GOOD, heap_bytes=2_100_000)), "memory")
    assert any("replace what runs on the CPU" in remedy for remedy in check.remedies)


@pytest.mark.parametrize("firmware", ["maixpy-full", "canmv", "c-sdk"])
def test_a_v5_file_is_refused_with_both_remedies(firmware: str) -> None:
    check = only_failure(gate(replace(GOOD, version=5), firmware), "kmodel version")
    assert "kmodel v5" in check.message
    assert "loads v3, v4" in check.message
    assert "c-sdk-develop" in check.remedies[0]
    assert "--to v4" in check.remedies[1]


def test_a_v4_file_for_a_v3_firmware_is_refused() -> None:
    check = only_failure(gate(GOOD, "maixpy-minimum"), "kmodel version")
    assert "loads v3" in check.message
    assert "--to v3" in check.remedies[1]


def test_over_the_recipes_budget() -> None:
    check = only_failure(gate(GOOD, model_bytes=50_000), "model bytes")
    assert "10,000 over" in check.message


def test_over_the_kpus_memory() -> None:
    check = only_failure(gate(replace(GOOD, kpu_bytes=(2 << 20) + 64)), "kpu memory")
    assert "64 over" in check.message
    assert gate(replace(GOOD, kpu_bytes=2 << 20)).accepted


def test_more_weight_loads_than_the_register_holds() -> None:
    layers = (*GOOD.layers, LayerFacts("wide", 2_359_296, 86))
    check = only_failure(gate(replace(GOOD, layers=layers)), "weight loads")
    assert check.by == ({"layer": "wide", "bytes": 2_359_296, "loads": 86},)


def test_a_convolution_on_the_cpu() -> None:
    check = only_failure(gate(replace(GOOD, cpu_convolutions=("stem",))), "cpu convolutions")
    assert "stem" in check.message


def test_maixpy_cannot_read_uint8_outputs_of_v4() -> None:
    facts = replace(GOOD, output="uint8")
    only_failure(gate(facts), "output type")
    assert gate(facts, "c-sdk").accepted
    assert gate(replace(facts, version=3)).accepted


def test_accuracy_lost_and_accuracy_asked_for() -> None:
    assert gate(GOOD, accuracies=Accuracies(0.90, 0.89)).accepted
    check = only_failure(gate(GOOD, accuracies=Accuracies(0.90, 0.8899)), "accuracy")
    assert "1.01 points" in check.message
    target = Target(firmware="maixpy-full")
    strict = Gate(max_drop=0.01, min_accuracy=0.95)
    verdict = judge(GOOD, KNOWN["maixpy-full"], target, strict, Accuracies(0.94, 0.94))
    assert "95.00%" in only_failure(verdict, "accuracy").message


def test_a_kmodel_from_elsewhere_has_no_accuracy() -> None:
    assert gate(GOOD).accepted


def test_canmv_v5_refuses_files_of_5_mib() -> None:
    verdict = gate(replace(GOOD, version=5, kmodel_bytes=5 << 20), "canmv-v5")
    assert "file size" in [check.name for check in verdict.failures]


def test_streaming_from_flash_needs_only_the_largest_layer_in_memory() -> None:
    large = replace(GOOD, kmodel_bytes=4_000_000, header_bytes=200, largest_body_bytes=300_000)
    assert not gate(large).accepted
    assert gate(large, load="flash-stream").accepted
    assert gate(large, load="flash-stream").checks[0].figures["needed_bytes"] == 4096 + 256 + 20_000 + 300_000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kmodel_bytes": (10 << 20) + 1}, "of flash"),
        ({"header_bytes": 4097}, "header"),
        ({"heap_bytes": 2_000_000}, "main memory while it runs"),
    ],
)
def test_streaming_has_limits_of_its_own(change: dict[str, int], words: str) -> None:
    facts = replace(GOOD, **change)  # type: ignore[arg-type]
    assert words in only_failure(gate(facts, load="flash-stream"), "memory").message


@pytest.mark.parametrize("firmware", ["canmv", "c-sdk"])
def test_only_maixpy_streams_from_flash(firmware: str) -> None:
    assert "kpu.load_flash" in only_failure(gate(GOOD, firmware, load="flash-stream"), "memory").message


@given(st.integers(1, 7 << 20), st.integers(0, 7 << 20), st.sampled_from([3, 4, 5]))
def test_any_verdict_is_plain_json_and_every_failure_has_a_remedy(size: int, heap: int, version: int) -> None:
    for firmware in KNOWN:
        verdict = gate(replace(GOOD, version=version, kmodel_bytes=size, heap_bytes=heap), firmware)
        assert len(verdict.checks) == len(CHECKS)
        assert all(check.remedies and check.message for check in verdict.failures)
        json.dumps(verdict.to_json(), allow_nan=False)


def test_models_that_are_streamed_share_the_memory_that_their_layers_take() -> None:
    facts = [replace(GOOD, kmodel_bytes=4_000_000, largest_body_bytes=300_000)] * 2
    target = Target(firmware="maixpy-full", load="flash-stream")
    together = judge_together(facts, KNOWN["maixpy-full"], target)
    assert together.ok
    assert together.figures["needed_bytes"] == 2 * (4096 + 256 + 20_000 + 300_000)
    in_memory = target.model_copy(update={"load": "sd"})
    assert not judge_together(facts, KNOWN["maixpy-full"], in_memory).ok
