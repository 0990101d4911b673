"""Whether a firmware could hold a kmodel that does not exist yet, from its prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from pipeline.firmware.gate import judge
from pipeline.firmware.profile import Profile, load_profile, profiles
from pipeline.firmware.verdict import Check, KmodelFacts, LayerFacts, Verdict
from pipeline.kmodel.identify import NNCASE_VERSION
from pipeline.kpu.check import Checked, check_network
from pipeline.kpu.memory.kmodel_size import REGISTER_BYTES, header_bytes, largest_body_bytes, not_carried
from pipeline.kpu.prediction import Prediction, predict
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


@dataclass(frozen=True)
class Answer:
    """A network checked, and which firmware could hold it.

    Attributes:
        checked: with the kmodel version of the only firmware asked for; else v5.
        predictions: by kmodel version.
        verdicts: by firmware; empty where none was asked for.
        asked: what was asked for: a firmware's name, "all" or "".
    """

    checked: Checked
    predictions: Mapping[int, Prediction]
    verdicts: Mapping[str, Verdict]
    asked: str

    @property
    def fits(self) -> bool:
        """Whether it compiles, and the firmware asked for (or any of all) could hold it."""
        compiles = self.checked.prediction.compiles
        return compiles and (not self.verdicts or any(verdict.accepted for verdict in self.verdicts.values()))

    @property
    def clean(self) -> bool:
        """Whether it fits, its numbers are right, and nothing but a classifier's head runs on the CPU."""
        return self.fits and not self.checked.violations


def chosen_profiles(firmware: str | None, root: Path) -> list[Profile]:
    """Return the profiles of a firmware, of "all", or none.

    Raises:
        FirmwareError: no such profile, or one that does not parse.
    """
    if firmware is None:
        return []
    return profiles(root) if firmware == "all" else [load_profile(firmware, root)]


def check_for(
    model: onnx.ModelProto,
    chosen: Sequence[Profile],
    target: Target,
    root: Path,
    *,
    raw: bool = False,
    where: str = "",
) -> Answer:
    """Check a network, and judge it for every profile chosen, each in the newest kmodel version that it loads.

    Args:
        model: ONNX with one image input of fixed size.
        chosen: profiles to judge it for.
        target: what else runs on the board; its firmware is not looked at.
        root: the project's folder, whose other profiles remedies may name.
        raw: judge what nncase alone would do with the network.
        where: the network's file, for messages.

    Raises:
        NetworkError: the network has not one image input of fixed size, or reads what nothing gives.
        FirmwareError: the target asks for the measured sum alone, but a firmware was not measured.
    """
    version = max(chosen[0].versions) if len(chosen) == 1 else NNCASE_VERSION
    checked = check_network(model, version, raw=raw, where=where)
    predictions = {version: checked.prediction}
    others = profiles(root) if chosen else []
    verdicts = {}
    for profile in chosen:
        newest = max(profile.versions)
        if newest not in predictions:
            predictions[newest] = predict(model, newest, prepared=not raw)
        verdicts[profile.name] = judge_predicted(predictions[newest], profile, target, others)
    asked = "all" if len(chosen) > 1 else chosen[0].name if chosen else ""
    return Answer(checked, predictions, verdicts, asked)


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
