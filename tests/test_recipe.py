from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import RecipeError
from pipeline.recipe import load_recipe, recipe_path

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.fixture
def values() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "recipes/fashion-mnist-mini.yaml").read_text())
    return loaded


def write(folder: Path, values: object) -> Path:
    path = folder / "mine.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_project_is_valid(path: Path) -> None:
    assert load_recipe(path).seed >= 0


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("train", "epochs", 0, "train.epochs: Input should be greater than 0"),
        ("train", "epochs", "many", "train.epochs: Input should be a valid integer, not 'many'"),
        ("train", "epoch", 3, "train.epoch: is not a key of this section; allowed: augment, batch, epochs"),
        ("model", "widht", 3, "model.zoo.widht: is not a key of this section; allowed: name, source, width"),
        ("data", "image", [1, 32], "data.image"),
        ("data", "mean", [0.1, 0.2], "data: mean has 2 values; allowed are 1 or 1"),
        ("data", "std", [0.0], "data.std.0: Input should be greater than 0"),
        ("gate", "max_drop", 1.5, "gate.max_drop: Input should be less than or equal to 1"),
        ("target", "load", "usb", "target.load: Input should be 'sd', 'flash' or 'flash-stream', not 'usb'"),
        ("quantise", "method", "magic", "'auto', 'ptq' or 'qat'"),
    ],
)
def test_a_wrong_value_names_file_key_and_what_is_allowed(
    tmp_path: Path, values: dict[str, Any], section: str, key: str, value: object, expected: str
) -> None:
    values[section][key] = value
    path = write(tmp_path, values)
    with pytest.raises(RecipeError) as raised:
        load_recipe(path)
    assert expected in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_missing_section_is_an_error(tmp_path: Path, values: dict[str, Any]) -> None:
    del values["search"]
    with pytest.raises(RecipeError, match="search: is missing"):
        load_recipe(write(tmp_path, values))


def test_all_findings_are_named_at_once(tmp_path: Path, values: dict[str, Any]) -> None:
    values["train"]["epochs"] = 0
    values["gate"]["max_drop"] = 2
    with pytest.raises(RecipeError) as raised:
        load_recipe(write(tmp_path, values))
    assert "train.epochs" in str(raised.value)
    assert "gate.max_drop" in str(raised.value)


def test_a_zoo_network_must_be_trained(tmp_path: Path, values: dict[str, Any]) -> None:
    values["train"] = None
    with pytest.raises(RecipeError, match="no weights yet"):
        load_recipe(write(tmp_path, values))


@pytest.mark.parametrize("text", ["", "just text", "- a\n- list", "seed: [", "\x00"])
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError, match=r"mine\.yaml"):
        load_recipe(write(tmp_path, text))


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="fashion-mnist-mini"):
        recipe_path(ROOT, "nothing-of-the-sort")
