"""A small search problem: the tiny recipe's images, and a network that learnt them for a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from projects import NNCASE, ROOT, TINY, bars

from pipeline.firmware.profile import load_profile
from pipeline.network.contract import InputContract
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.network.trace import trace
from pipeline.network.zoo import build
from pipeline.recipe import Recipe, parse
from pipeline.search.problem import Problem
from pipeline.search.space import own_params
from pipeline.training.data.sets import DataSet, Training
from pipeline.training.loop import FitSettings, fit


def tiny_problem(model_bytes: int = 9000, nncase: Path = NNCASE, **search: Any) -> Problem:
    """A network of 8 channels on 240 images; a budget that it does not meet as it is."""
    values = {**TINY, "target": {**TINY["target"], "model_bytes": model_bytes}, "search": {"trials": 4, **search}}
    recipe = parse(Recipe, values, where="tiny")
    train, validation = DataSet(*bars(240, seed=1)), DataSet(*bars(80, seed=2))
    contract = InputContract(recipe.data.image, recipe.data.channel_mean, recipe.data.channel_std)
    torch.manual_seed(0)
    built = trace(build("convnet5x5", recipe.data.image, len(recipe.data.labels), 8))
    fit(built, train, contract, FitSettings(epochs=4, lr=0.1, batch=32), seed=0)
    network = to_torch(to_onnx(built, contract))  # with the names of layers that stages see
    profile = load_profile("maixpy-full", ROOT)
    return Problem(recipe, network, contract, Training(train, validation), profile, max(profile.versions), nncase)


def a_point(problem: Problem, **changes: Any) -> dict[str, Any]:
    """The middle of the space."""
    point = own_params(problem.space)
    channels = {name: max(value // 2, 4) for name, value in point.items() if name.startswith("keep.")}
    return {**point, **channels, **changes}
