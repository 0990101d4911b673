"""No candidate that fits is rejected, and no other is trained: hundreds of predictions against nncase."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from projects import NNCASE, ROOT

from pipeline.firmware.profile import load_profile
from pipeline.network.contract import InputContract
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.network.trace import trace
from pipeline.network.zoo import build
from pipeline.recipe import Recipe, parse
from pipeline.search.evaluate import evaluate
from pipeline.search.problem import Problem
from pipeline.search.size import hold_against, size
from pipeline.search.space import Settings, settings_of
from pipeline.training.data.load import load_training
from pipeline.training.data.sets import DataSet, Training

pytestmark = [pytest.mark.nncase, pytest.mark.bench, pytest.mark.timeout(3600)]

_EACH = 100
_BUDGET = 30_000  # bytes; what fits and what does not are both common
_MOST_S = 0.1
_TRIES = 3


@pytest.fixture(scope="module")
def problem() -> Problem:
    """The default recipe's network as it is before training, and as little work on it as there can be."""
    values = yaml.safe_load((ROOT / "recipes" / "fashion-mnist-mini.yaml").read_text())
    values["search"] = {"trials": 1}
    values["target"]["model_bytes"] = _BUDGET
    values["prune"]["finetune"] |= {"epochs": 0}
    values["replace"] |= {"regression_steps": 1, "distil_steps": 1, "max_drop": 1.0}
    values["quantise"]["method"] = "ptq"
    recipe = parse(Recipe, values, where="fashion-mnist-mini")
    data = load_training(recipe.data, recipe.seed, ROOT)
    few = Training(some(data.train, 600), some(data.validation, 8))
    contract = InputContract(recipe.data.image, recipe.data.channel_mean, recipe.data.channel_std)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    built = trace(build(recipe.model.name, recipe.data.image, len(recipe.data.labels), recipe.model.width))
    network = to_torch(to_onnx(built, contract))  # as the search reads it: layers have their names of ONNX
    profile = load_profile(recipe.target.firmware, ROOT)
    found = Problem(recipe, network, contract, few, profile, max(profile.versions), NNCASE)
    found.prepare()
    return found


def some(images: DataSet, count: int) -> DataSet:
    return DataSet(images.images[:count], images.labels[:count])


def drawn(distribution: BaseDistribution, random: np.random.Generator) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[random.integers(len(distribution.choices))]
    if isinstance(distribution, IntDistribution):
        return int(random.integers(distribution.low, distribution.high, endpoint=True))
    assert isinstance(distribution, FloatDistribution)
    return float(random.uniform(distribution.low, distribution.high))


def test_what_is_rejected_does_not_fit_and_what_is_not_does(problem: Problem, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    by_verdict: dict[bool, list[Settings]] = {True: [], False: []}
    seconds = []
    while any(len(found) < _EACH for found in by_verdict.values()):
        params = {name: drawn(distribution, random) for name, distribution in problem.space.dimensions.items()}
        settings = settings_of(params, problem.space)
        found = by_verdict[size(problem, settings).fits]
        if len(found) < _EACH:
            found.append(settings)
            seconds.append(min(sizing_s(problem, settings) for _ in range(_TRIES)))
    print(f"sizing: median {np.median(seconds) * 1000:.0f} ms, worst {max(seconds) * 1000:.0f} ms of CPU")
    assert max(seconds) < _MOST_S
    wrong = []
    for fits, candidates in by_verdict.items():
        for number, settings in enumerate(candidates):
            measured = evaluate(problem, settings, 1.0, tmp_path, trained=False)
            if hold_against(problem, measured.facts).fits != fits:
                wrong.append((fits, measured.facts.kmodel_bytes, settings))
            print(f"{number}: fits {fits}, {measured.facts.kmodel_bytes} bytes", flush=True)
    assert wrong == []


def sizing_s(problem: Problem, settings: Settings) -> float:
    """Seconds of this process: what others do on the machine must not count."""
    start = time.process_time()
    size(problem, settings)
    return time.process_time() - start
