"""A candidate trained, replaced, quantised and compiled, at part of the effort or at all of it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from pipeline.compiler.compile import compile_network
from pipeline.firmware.facts import facts_of
from pipeline.firmware.verdict import KmodelFacts
from pipeline.kmodel.identify import NNCASE_VERSION
from pipeline.kmodel.read import read
from pipeline.kmodel.transcode import transcode
from pipeline.kmodel.write import write
from pipeline.network.contract import InputContract, read_contract, write_contract
from pipeline.network.fold import fold_batchnorm
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.network.onnx_head import onnx_head
from pipeline.quantisation.equalise import equalise
from pipeline.recipe import Prune, Replace
from pipeline.replacement.apply import replace_network
from pipeline.search.problem import Problem
from pipeline.search.reuse import key_of, reuse
from pipeline.search.space import Settings
from pipeline.steps.prune import prune
from pipeline.steps.quantise import kmodel_accuracy, quantise
from pipeline.training.data.load import calibration_images


@dataclass(frozen=True)
class Measured:
    """What a candidate came to.

    Attributes:
        accuracy: of its kmodel on validation images, bit for bit.
        facts: read from that kmodel.
        kmodel: the file.
    """

    accuracy: float
    facts: KmodelFacts
    kmodel: bytes


def evaluate(problem: Problem, settings: Settings, share: float, cache: Path, *, trained: bool) -> Measured:
    """Make a candidate's kmodel and measure it.

    At all of the effort (``share`` 1, ``trained``) it is what the stages make of the same settings with as many
    threads. Below, training is cut to a share, and no replacement is given up for its cost.

    Args:
        problem: what the search is about.
        settings: the candidate.
        share: of the settings' epochs and steps, above 0 to 1.
        cache: a folder in which the results of equal steps are kept.
        trained: whether quantisation is trained where the settings say so; plain quantisation takes a second.

    Raises:
        KpufitError: training diverged, nncase refused the network, the disk is full.
    """
    recipe = problem.recipe
    train = recipe.train.model_dump(mode="json") if recipe.train else None
    network = to_onnx(problem.network, problem.contract).SerializeToString(deterministic=True)
    pruning = _pruning(settings.prune, share)
    pruning_key = key_of("prune", network, pruning and pruning.model_dump(mode="json"), train, recipe.seed,
                         problem.identity)  # fmt: skip
    pruned = reuse(cache, pruning_key, lambda: _prune(problem, pruning, settings.replace))
    replacing = _replacing(settings.replace, share)
    images = settings.quantise.calibration.images
    replace_key = key_of("replace", pruned, replacing.model_dump(mode="json"), images, recipe.seed, problem.identity)
    replaced = reuse(cache, replace_key, lambda: _replace(problem, pruned, replacing, images))
    trained = trained and settings.quantise.method != "ptq"
    quantised = settings.quantise.model_dump(mode="json") if trained else images
    kmodel_key = key_of("kmodel", replaced, quantised, problem.version, recipe.seed, problem.identity)
    kmodel = reuse(cache, kmodel_key, lambda: _kmodel(problem, replaced, settings, trained))
    accuracy_key = key_of("accuracy", kmodel, problem.identity)
    accuracy = reuse(cache, accuracy_key, lambda: _accuracy(problem, kmodel))
    return Measured(float(json.loads(accuracy)), facts_of(read(kmodel)), kmodel)


def _pruning(settings: Prune | None, share: float) -> Prune | None:
    if settings is None or share == 1:
        return settings
    epochs = max(1, round(settings.finetune.epochs * share)) if settings.finetune.epochs else 0
    return settings.model_copy(update={"finetune": settings.finetune.model_copy(update={"epochs": epochs})})


def _replacing(settings: Replace, share: float) -> Replace:
    if share == 1:
        return settings
    return settings.model_copy(
        update={
            "max_drop": 1.0,
            "regression_steps": math.ceil(settings.regression_steps * share),
            "distil_steps": math.ceil(settings.distil_steps * share),
        }
    )


def _prune(problem: Problem, settings: Prune | None, replace: Replace) -> bytes:
    recipe = problem.recipe
    pruned = prune(
        problem.network,
        problem.contract,
        problem.data,
        settings,
        replace=replace,
        train=recipe.train,
        budget=problem.budget,
        seed=recipe.seed,
    )
    content: bytes = to_onnx(pruned.network, problem.contract).SerializeToString(deterministic=True)
    return content


def _replace(problem: Problem, pruned: bytes, settings: Replace, images: int) -> bytes:
    model = onnx.load_model_from_string(pruned)
    replaced = replace_network(
        to_torch(model),
        read_contract(model),
        calibration_images(problem.data, problem.recipe.seed, images),
        problem.data.train,
        problem.data.validation,
        settings,
        seed=problem.recipe.seed,
        must_replace=problem.version != NNCASE_VERSION,
    )
    content: bytes = to_onnx(replaced.network, replaced.contract).SerializeToString(deterministic=True)
    return content


def _kmodel(problem: Problem, replaced: bytes, settings: Settings, trained: bool) -> bytes:
    model = onnx.load_model_from_string(replaced)
    contract = read_contract(model)
    calibration = calibration_images(problem.data, problem.recipe.seed, settings.quantise.calibration.images)
    if not trained:
        return _plain_kmodel(problem, model, contract, calibration)
    return quantise(
        model,
        contract,
        calibration,
        problem.data,
        settings.quantise,
        version=problem.version,
        nncase=problem.nncase,
        seed=problem.recipe.seed,
        where="candidate",
        threads=1,
        notify=lambda line: None,
    ).kmodel


def _plain_kmodel(
    problem: Problem, model: onnx.ModelProto, contract: InputContract, calibration: NDArray[np.uint8]
) -> bytes:
    """Equalise and compile, from ONNX: byte for byte the stages' file (tested), without TensorFlow's start-up."""
    folded = to_onnx(fold_batchnorm(to_torch(model)), contract)
    equalised, _ = equalise(folded, contract.normalise(calibration))
    write_contract(equalised, contract)
    compiled = compile_network(
        equalised.SerializeToString(), "onnx", calibration, contract, nncase_python=problem.nncase, where="candidate"
    )
    if problem.version == NNCASE_VERSION:
        return compiled.kmodel
    head = onnx_head(equalised, where="candidate")
    return write(transcode(read(compiled.kmodel), problem.version, head=head, float_output=True))


def _accuracy(problem: Problem, kmodel: bytes) -> bytes:
    return json.dumps(kmodel_accuracy(kmodel, problem.data.validation, "candidate")).encode()
