"""What a run of a recipe would do, and what would come of it, before anything is trained."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
import yaml

from pipeline.errors import ToolError
from pipeline.firmware.budget import kmodel_budget
from pipeline.firmware.predicted import Answer, judge_predicted
from pipeline.firmware.profile import profiles
from pipeline.kpu.check import check_network
from pipeline.kpu.prediction import VERSIONS
from pipeline.network.lower import to_onnx
from pipeline.pruning.prune import PruneSettings, prune_network
from pipeline.stages.layout import STAGES, Run
from pipeline.stages.repro import dvc_program
from pipeline.stages.target import target_profile, target_version
from pipeline.stages.train import untrained
from pipeline.steps.predicted import as_replaced, predicted_bytes
from pipeline.training.data.sets import DataSet

_NOISE_IMAGES = 8
"""Images of noise: which channels go does not matter to the size, only how many."""


@dataclass(frozen=True)
class StagePlan:
    """One stage.

    Attributes:
        stage: its name.
        runs: "yes", "no", or "perhaps": if what an earlier stage writes changes.
        why: what changed; () where nothing did.
    """

    stage: str
    runs: str
    why: tuple[str, ...]


def stage_plans(run: Run) -> list[StagePlan]:
    """Return what ``dvc status`` says of each stage of a recipe; nothing is run.

    Raises:
        ToolError: DVC cannot say, e.g. while it runs the recipe.
        SetupError: DVC is not installed.
    """
    asked = subprocess.run(
        [dvc_program(), "status", "--json", "--with-deps", f"accept@{run.name}"],
        cwd=run.root,
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        raise ToolError("dvc status failed", where=str(run.root), remedy="see what it says", log=asked.stderr)
    status: dict[str, list[Any]] = json.loads(asked.stdout)
    plans, earlier, recorded = [], False, _recorded(run)
    for stage in STAGES:
        name = f"{stage}@{run.name}"
        changed = tuple(text for each in status.get(name, []) for text in _reasons(each))
        why = changed if name in recorded else ("no successful run so far",)
        own = [reason for reason in why if not reason.startswith(f"out/{run.name}/") or not earlier]
        runs = "yes" if own else "perhaps" if earlier else "no"
        plans.append(StagePlan(stage, runs, tuple(own)))
        earlier = earlier or bool(own)
    return plans


def _recorded(run: Run) -> frozenset[str]:
    """Stages that DVC has run: it calls everything modified of one that it has not."""
    path = run.root / "dvc.lock"
    lock = yaml.safe_load(path.read_text()) if path.exists() else None
    return frozenset((lock or {}).get("stages") or ())


def _reasons(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    reasons = []
    for files in entry.values():
        for path, state in files.items():
            said = ", ".join(f"{key} {value}" for key, value in state.items()) if isinstance(state, dict) else state
            reasons.append(f"{path}: {said}")
    return reasons


def predictions(run: Run, *, trust: bool = False) -> dict[str, Answer]:
    """Return what is predicted of the recipe's network: as it is given, replaced, and pruned as well.

    A network of the zoo is built but not trained: sizes do not depend on weights. Accuracy is not predicted.

    Raises:
        NetworkError: the network cannot be read or built.
        FirmwareError: the firmware is unknown, or was not measured though the target asks for its sum alone.
    """
    recipe, network = run.recipe, untrained(run, trust=trust)
    graph, contract = network.graph, network.contract
    forms = {
        "as given": to_onnx(graph, contract),
        "replaced": as_replaced(graph, contract, recipe.replace),
    }
    if recipe.prune is not None:
        budget = kmodel_budget(target_profile(run), recipe.target)
        wanted = budget if recipe.prune.to_bytes == "auto" else recipe.prune.to_bytes
        noise = np.random.default_rng(recipe.seed).integers(0, 256, (_NOISE_IMAGES, *contract.image), np.uint8)
        pruned = prune_network(
            graph,
            DataSet(noise, np.zeros(_NOISE_IMAGES, np.int64)),
            contract,
            PruneSettings(wanted, "group-l2", keep=recipe.prune.keep),
            partial(predicted_bytes, contract=contract, versions=VERSIONS, settings=recipe.replace),
            seed=recipe.seed,
        )
        forms["pruned and replaced"] = as_replaced(pruned.network, contract, recipe.replace)
    return {title: _answer(run, model) for title, model in forms.items()}


def _answer(run: Run, model: onnx.ModelProto) -> Answer:
    profile, version = target_profile(run), target_version(run)
    checked = check_network(model, version, where=str(run.recipe_file))
    verdict = judge_predicted(checked.prediction, profile, run.recipe.target, profiles(run.root))
    return Answer(checked, {version: checked.prediction}, {profile.name: verdict}, profile.name)
