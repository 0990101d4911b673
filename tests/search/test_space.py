"""Any point of a space is a recipe: within the network's groups, and read back as it was written."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from search_problem import tiny_problem

from pipeline.recipe import Prune, Quantise, Replace, parse
from pipeline.search.problem import Problem
from pipeline.search.space import Settings, keeping, own_params, settings_of, space_of


@functools.cache
def problem() -> Problem:
    return tiny_problem()


@st.composite
def points(draw: st.DrawFn) -> dict[str, Any]:
    """One value of every dimension."""
    point: dict[str, Any] = {}
    for name, found in problem().space.dimensions.items():
        if isinstance(found, IntDistribution):
            point[name] = draw(st.integers(found.low, found.high))
        elif isinstance(found, FloatDistribution):
            point[name] = draw(st.floats(found.low, found.high))
        else:
            assert isinstance(found, CategoricalDistribution)
            point[name] = draw(st.sampled_from(found.choices))
    return point


@given(points())
def test_every_point_is_a_recipe(point: dict[str, Any]) -> None:
    settings = settings_of(point, problem().space)
    for kind, section in ((Prune, settings.prune), (Replace, settings.replace), (Quantise, settings.quantise)):
        assert section is not None
        assert parse(kind, section.model_dump(mode="json"), where="point") == section
    assert settings.prune is not None
    assert settings.prune.keep is not None
    channels = {group.name: group.channels for group in problem().groups}
    assert set(settings.prune.keep) == set(channels)
    assert all(1 <= count <= channels[name] for name, count in settings.prune.keep.items())


def test_numbers_are_numbers_and_only_names_are_categories() -> None:
    for found in problem().space.dimensions.values():
        if isinstance(found, CategoricalDistribution):
            assert all(isinstance(choice, str) for choice in found.choices)


def test_what_the_recipe_does_not_do_is_not_searched() -> None:
    base = problem().space.base
    bare = Settings(None, base.replace, base.quantise.model_copy(update={"method": "ptq", "finetune": None}))
    made = problem()
    space = space_of(made.network, made.contract, made.groups, bare, train_images=32)
    assert {name.split(".")[0] for name in space.dimensions} <= {"rule", "activation"}
    assert settings_of(own_params(space), space).prune is None


def test_the_recipes_own_settings_are_a_point() -> None:
    space = problem().space
    own = settings_of(own_params(space), space)
    assert own.prune is not None
    assert space.base.prune is not None
    assert own.prune.finetune == space.base.prune.finetune
    assert own.quantise.calibration == space.base.quantise.calibration
    assert own.replace.activation == "keep"


@pytest.mark.parametrize("count", [0, 10**6])
def test_channels_are_brought_within_the_space(count: int) -> None:
    space = problem().space
    for name, value in keeping(space, dict.fromkeys((group.name for group in problem().groups), count)).items():
        found = space.dimensions[name]
        assert isinstance(found, IntDistribution)
        assert found.low <= value <= found.high
