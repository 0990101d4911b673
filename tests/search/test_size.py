"""Candidates are sized before they are trained, and as the kmodel then comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from search_problem import a_point, tiny_problem

from pipeline.search.evaluate import evaluate
from pipeline.search.problem import Problem
from pipeline.search.size import hold_against, size
from pipeline.search.space import own_params, settings_of
from pipeline.steps.predicted import predicted
from pipeline.steps.prune import prune


@pytest.fixture(scope="module")
def problem() -> Problem:
    return tiny_problem()


def test_what_does_not_fit_says_how_far_it_is_over(problem: Problem) -> None:
    sized = size(problem, settings_of(own_params(problem.space), problem.space))
    assert not sized.fits
    over = sized.over["model bytes"]
    assert over == pytest.approx(sized.facts.kmodel_bytes / 9000 - 1)
    assert over > 0 >= sized.over["kpu memory"]


def test_fewer_channels_are_fewer_bytes(problem: Problem) -> None:
    whole, point = own_params(problem.space), a_point(problem)
    sizes = [size(problem, settings_of(each, problem.space)).facts.kmodel_bytes for each in (whole, point)]
    assert sizes[0] > sizes[1]


@pytest.mark.nncase
def test_the_compiled_kmodel_needs_what_was_predicted(problem: Problem, tmp_path: Path) -> None:
    settings = settings_of(a_point(problem, method="ptq"), problem.space)
    predicted = size(problem, settings)
    measured = evaluate(problem, settings, 0.1, tmp_path, trained=False)
    real = hold_against(problem, measured.facts)
    assert predicted.fits
    assert real.fits
    assert measured.facts.kmodel_bytes == predicted.facts.kmodel_bytes == len(measured.kmodel)
    assert measured.facts.heap_bytes == predicted.facts.heap_bytes
    assert measured.facts.kpu_bytes == predicted.facts.kpu_bytes


def test_a_group_wider_than_the_kpu_counts_is_narrowed_first_as_prune_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.pruning.limit.MAX_CHANNELS", 12)  # of 16: as 1,024 is of 1,500
    wide = tiny_problem(model_bytes=12_000)
    # The last convolution before the classifier; a pair of convolutions is left to ``replace`` (see ``pruning.limit``).
    assert [group.channels for group in wide.groups][-1] == 12
    assert all(len(wide.importance[group.name]) == group.channels for group in wide.groups)
    settings = settings_of(a_point(wide), wide.space)
    assert settings.prune is not None
    still = settings.prune.model_copy(update={"finetune": settings.prune.finetune.model_copy(update={"epochs": 0})})
    recipe = wide.recipe
    made = prune(wide.network, wide.contract, wide.data, still, replace=settings.replace, train=recipe.train,
                 budget=wide.budget, seed=recipe.seed)  # fmt: skip
    needed = predicted(made.network, wide.contract, wide.version, settings.replace)
    assert size(wide, settings).facts.kmodel_bytes == needed.kmodel_bytes
