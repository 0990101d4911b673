"""One recipe of a bundle: its kmodel in a version that the firmware loads, judged, and what describes it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.bundle.contract import io_contract
from pipeline.bundle.vectors import TOLERANCE, Vectors, make_vectors
from pipeline.compiler.tflite_head import tflite_head
from pipeline.errors import StorageError
from pipeline.files import read_json
from pipeline.firmware.facts import facts_of
from pipeline.firmware.gate import judge
from pipeline.firmware.profile import Profile
from pipeline.firmware.verdict import Accuracies, Verdict
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.read import read
from pipeline.kmodel.transcode import transcode
from pipeline.kmodel.write import write
from pipeline.kpu.simulate import simulate
from pipeline.network.contract import InputContract, read_contract
from pipeline.network.read import load_onnx
from pipeline.recipe import Target
from pipeline.stages.layout import Run
from pipeline.stages.provenance import provenance
from pipeline.training.data.load import load_training
from pipeline.training.data.sets import DataSet


@dataclass(frozen=True, eq=False)
class Member:
    """One recipe of a bundle.

    Attributes:
        name: the recipe's.
        content: the kmodel, a file's bytes.
        kmodel: the same, read.
        image: channels, height and width of its input.
        labels: of its outputs, in order.
        verdict: of the bundle's firmware on this very file.
        vectors: inputs and what the file answers.
        contract: what ``contract.json`` says.
        card: what the model card says besides.
    """

    name: str
    content: bytes
    kmodel: Kmodel
    image: tuple[int, int, int]
    labels: tuple[str, ...]
    verdict: Verdict
    vectors: Vectors
    contract: dict[str, Any]
    card: dict[str, Any]


def recorded_verdict(run: Run) -> dict[str, Any]:
    """Return what ``gate`` wrote.

    Raises:
        StorageError: it has not run, or has not judged the kmodel and the accuracy that are there now.
    """
    path = run.made_by("gate", "verdict.json")
    verdict: dict[str, Any] = read_json(path)
    accuracy = next(check for check in verdict["checks"] if check["name"] == "accuracy")["kmodel"]
    evaluated = read_json(run.made_by("evaluate", "metrics.json"))["kmodel_accuracy"]
    size = run.made_by("convert", "network.kmodel").stat().st_size
    if (verdict["kmodel_bytes"], accuracy) != (size, evaluated):
        raise StorageError(
            "is about another kmodel than the one that is there now",
            where=str(path),
            remedy=f"`kpufit run {run.name}` runs what is missing",
        )
    return verdict


def make_member(run: Run, profile: Profile, target: Target, others: Sequence[Profile]) -> Member:
    """Return a recipe's part of a bundle.

    The file is the one that the recipe's accuracy was measured on, where the firmware loads its version; else it is
    carried over from nncase's v5 as ``convert`` does it, and compared on the validation images.

    Args:
        run: a recipe that has run to the end.
        profile: the firmware of the bundle.
        target: what else runs there.
        others: every known firmware, for remedies.

    Raises:
        KmodelError: the kmodel cannot be carried over to the firmware's version, or is no classifier's.
        StorageError: the recipe has not run to the end.
        DataError: its data is missing.
    """
    recipe = run.recipe
    onnx_path = run.made_by("replace", "network.onnx")
    contract = read_contract(load_onnx(onnx_path), where=str(onnx_path))
    validation = load_training(recipe.data, recipe.seed, run.root).validation
    path = run.made_by("convert", "network.kmodel")
    measured = read(path.read_bytes(), where=str(path))
    carried = measured.version not in profile.versions
    content = _carried_over(run, max(profile.versions)) if carried else path.read_bytes()
    kmodel = read(content, where=str(path))
    evaluated = read_json(run.made_by("evaluate", "metrics.json"))
    verdict = judge(
        facts_of(kmodel),
        profile,
        target.model_copy(update={"model_bytes": recipe.target.model_bytes}),
        recipe.gate,
        Accuracies(network=evaluated["float_accuracy"], kmodel=evaluated["kmodel_accuracy"]),
        others=others,
    )
    return Member(
        name=run.name,
        content=content,
        kmodel=kmodel,
        image=contract.image,
        labels=tuple(recipe.data.labels),
        verdict=verdict,
        vectors=make_vectors(kmodel, contract.image, validation),
        contract=_contract(run, content, kmodel, contract, profile, verdict),
        card={
            "accuracy": evaluated,
            "measured_version": measured.version,
            "agreement": _agreement(measured, kmodel, validation) if carried else None,
            "data": recipe.data.name,
            "provenance": provenance(run),
        },
    )


def _carried_over(run: Run, version: int) -> bytes:
    """The recipe's kmodel in another version, made as ``compiler.build`` makes it."""
    path = run.made_by("convert", "nncase.kmodel")
    content = path.read_bytes()
    source = read(content, where=str(path))
    if version == source.version:
        return content
    head = tflite_head(run.made_by("quantise", "network.tflite").read_bytes())
    return write(transcode(source, version, head=head, float_output=True))


def _agreement(one: Kmodel, other: Kmodel, images: DataSet) -> tuple[int, int]:
    """On how many images two kmodels name the same class, and of how many."""
    named = [simulate(kmodel, images.images)[0].reshape(len(images), -1).argmax(axis=1) for kmodel in (one, other)]
    return int(np.count_nonzero(named[0] == named[1])), len(images)


def _contract(
    run: Run, content: bytes, kmodel: Kmodel, contract: InputContract, profile: Profile, verdict: Verdict
) -> dict[str, Any]:
    facts = verdict.facts
    memory = next(check for check in verdict.checks if check.name == "memory")
    return {
        "name": run.name,
        "firmware": profile.name,
        "kmodel": {
            "file": "network.kmodel",
            "version": kmodel.version,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        },
        **io_contract(kmodel, contract, run.recipe.data.labels, profile),
        "memory": {
            "needed_bytes": memory.figures["needed_bytes"],
            "limit_bytes": memory.figures["limit_bytes"],
            "main_bytes": facts.heap_bytes,
            "kpu_bytes": facts.kpu_bytes,
        },
        "kpu_milliseconds_predicted": facts.latency_ms,
        "vectors": {
            "inputs": "vectors/inputs.npy",
            "outputs": "vectors/outputs.npy",
            "tolerance_on_the_board": TOLERANCE,
            "reproduce": "kpufit simulate network.kmodel --input vectors/inputs.npy --output outputs.npy",
        },
    }
