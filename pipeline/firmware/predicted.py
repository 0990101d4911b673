"""Whether a firmware could hold a kmodel that does not exist yet, from its prediction."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.firmware.gate import judge
from pipeline.firmware.profile import Profile
from pipeline.firmware.verdict import Check, KmodelFacts, LayerFacts, Verdict
from pipeline.kpu.kmodel_size import REGISTER_BYTES, header_bytes, largest_body_bytes, not_carried
from pipeline.kpu.prediction import Prediction
from pipeline.recipe import Gate, Target

_ANY_ACCURACY = Gate(max_drop=1.0)


def predicted_facts(prediction: Prediction) -> KmodelFacts:
    """Return what the gate would read from the file, as it is predicted."""
    layers = tuple(
        LayerFacts(layer.name, layer.weight_bytes + (REGISTER_BYTES if layer.weight_loads else 0), layer.weight_loads)
        for layer in prediction.layers
        if layer.weight_bytes
    )
    on_cpu = [op.layers[0] for op in prediction.program.cpu_ops if op.kind == "conv2d" and op.layers]
    return KmodelFacts(
        version=prediction.version,
        kmodel_bytes=prediction.kmodel_bytes,
        heap_bytes=prediction.heap_bytes,
        kpu_bytes=prediction.kpu_bytes,
        layers=layers,
        cpu_ops=tuple(op.kind for op in prediction.program.cpu_ops),
        cpu_convolutions=tuple(on_cpu),
        output="float32",
        header_bytes=header_bytes(prediction.program, prediction.version),
        largest_body_bytes=largest_body_bytes(prediction.program),
        latency_ms=prediction.latency.milliseconds() if prediction.latency else None,
    )


def judge_predicted(
    prediction: Prediction, profile: Profile, target: Target, others: Sequence[Profile] = ()
) -> Verdict:
    """Return the gate's verdict on a predicted kmodel; accuracy is not judged.

    Raises:
        FirmwareError: the target asks for the measured sum alone, but the firmware was not measured.
    """
    verdict = judge(predicted_facts(prediction), profile, target, _ANY_ACCURACY, others=others)
    return Verdict(verdict.firmware, verdict.facts, (_compiles(prediction), *verdict.checks, _held(prediction)))


def _compiles(prediction: Prediction) -> Check:
    if not prediction.refusals:
        return Check("nncase", True, "nncase 1.9 compiles it")
    first = prediction.refusals[0]
    message = f"nncase 1.9 does not compile it: {first.layer} ({first.op}): {first.why}"
    return Check("nncase", False, message, {}, (), ("see the findings on the layers named there",))


def _held(prediction: Prediction) -> Check:
    """v4 and v3 know fewer operators than nncase 1.9 writes."""
    name, missing = "operators", not_carried(prediction.program, prediction.version)
    if not missing:
        return Check(name, True, f"kmodel v{prediction.version} has a form for each")
    message = f"kmodel v{prediction.version} has no form for {', '.join(missing)}"
    remedies = ("replace what runs on the CPU (see the findings)", "or choose a firmware that loads kmodel v5")
    return Check(name, False, message, {"operators": list(missing)}, (), remedies)
