from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import pipeline
from pipeline.errors import DataError
from pipeline.files import sha256
from pipeline.recipe import load_recipe
from pipeline.training.data import npz
from pipeline.training.data.heldout import load_test
from pipeline.training.data.load import load_calibration, load_training
from pipeline.training.data.manifest import manifest, manifest_path
from pipeline.training.data.sets import DataSet
from pipeline.training.data.shipped import MINI_FILE

if TYPE_CHECKING:
    from tests.training.conftest import MakeData

ROOT = Path(pipeline.__file__).parents[1]


def as_set(images: DataSet) -> set[bytes]:
    return {image.tobytes() for image in images.images}


@pytest.fixture
def own(two_kinds: DataSet, tmp_path: Path) -> Path:
    """Return a project folder with own.npz, which has no test part."""
    np.savez(tmp_path / "own.npz", x_train=two_kinds.images, y_train=two_kinds.labels)
    return tmp_path


def test_the_shipped_set_is_whole() -> None:
    data = load_recipe(ROOT / "recipes" / "fashion-mnist-mini.yaml").data
    training, test = load_training(data, 0, ROOT), load_test(data, 0, ROOT)
    assert training.train.images.shape == (4500, 1, 32, 32)
    assert training.validation.images.shape == (500, 1, 32, 32)
    assert test.images.shape == (1000, 1, 32, 32)
    assert np.bincount(training.train.labels).tolist() == [450] * 10
    assert np.bincount(test.labels).tolist() == [100] * 10
    assert not as_set(test) & (as_set(training.train) | as_set(training.validation))


def test_the_shipped_set_is_small_licensed_and_what_its_manifest_says() -> None:
    assert MINI_FILE.stat().st_size < 3_000_000
    assert "MIT" in MINI_FILE.with_suffix(".LICENSE").read_text()
    data = load_recipe(ROOT / "recipes" / "fashion-mnist-mini.yaml").data
    known = manifest(data, ROOT)
    with np.load(MINI_FILE, allow_pickle=False) as arrays:
        assert sorted(arrays) == sorted(known["arrays"])
        again = MINI_FILE.parent / "fashion_mnist_mini.json"
    assert manifest_path(data, ROOT) == again
    assert known == json.loads(again.read_text())


def test_parts_are_disjoint_and_calibration_is_of_training(make_data: MakeData, own: Path) -> None:
    data = make_data(test=20)
    training, test = load_training(data, 3, own), load_test(data, 3, own)
    assert (len(training.train), len(training.validation), len(test)) == (90, 10, 20)
    assert len(as_set(training.train) | as_set(training.validation) | as_set(test)) == 120
    calibration = load_calibration(data, 3, own, 16)
    assert calibration.shape == (16, 1, 8, 8)
    assert {image.tobytes() for image in calibration} < as_set(training.train)


def test_more_validation_images_leave_the_test_images_alone(make_data: MakeData, own: Path) -> None:
    few, many = (load_test(make_data(test=20, validation=count), 3, own) for count in (10, 30))
    np.testing.assert_array_equal(few.images, many.images)


def test_a_test_part_of_its_own_is_used(make_data: MakeData, two_kinds: DataSet, tmp_path: Path) -> None:
    images, labels = two_kinds.images, two_kinds.labels.astype(np.uint8)
    arrays = {"x_train": images[:100], "y_train": labels[:100], "x_test": images[100:], "y_test": labels[100:]}
    npz.write(tmp_path / "own.npz", arrays, compress=False)
    np.testing.assert_array_equal(load_test(make_data(), 0, tmp_path).images, images[100:])
    training = load_training(make_data(), 0, tmp_path)
    assert (len(training.train), len(training.validation)) == (90, 10)
    with pytest.raises(DataError, match="test images of its own") as caught:
        load_test(make_data(test=5), 0, tmp_path)
    assert caught.value.remedy == "remove data.test"


@pytest.mark.parametrize("parts", [True, False])
def test_a_folder_of_images(make_data: MakeData, two_kinds: DataSet, tmp_path: Path, parts: bool) -> None:
    for row, (image, label) in enumerate(zip(two_kinds.images, two_kinds.labels, strict=True)):
        part = ("test" if row < 20 else "train") if parts else ""
        folder = tmp_path / "pictures" / part / ("dark", "light")[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(folder / f"{row:03}.png")
    data = make_data(name="image-folder", path="pictures", test=None if parts else 20)
    training, test = load_training(data, 0, tmp_path), load_test(data, 0, tmp_path)
    assert (len(training.train), len(training.validation), len(test)) == (90, 10, 20)
    assert len(as_set(training.train) | as_set(training.validation) | as_set(test)) == 120
    assert np.all((test.images.mean(axis=(1, 2, 3)) > 120) == test.labels)
    assert len(manifest(data, tmp_path)["files"]) == 120
    assert manifest_path(data, tmp_path) == tmp_path / "pictures"


@pytest.mark.parametrize(
    ("changes", "complaint", "remedy"),
    [
        ({"name": "fashion-mnist"}, "not here yet", "kpufit data fashion-mnist"),
        ({"name": "cifar-10"}, "not here yet", "kpufit data cifar-10"),
        ({"name": "imagenet"}, "no data set 'imagenet'", "cifar-10"),
        ({"path": None}, "needs data.path", "file"),
        ({"path": "none.npz"}, "no such file", "data.path"),
        ({}, "has no test images", "data.test"),
        ({"test": 120}, "120 test images asked for", "fewer"),
        ({"test": 20, "validation": 99}, "99 validation images asked for", "fewer"),
        ({"test": 20, "validation": 1}, "too few for 2 classes", "at least 2"),
        ({"test": 20, "labels": ["a", "b", "c"], "image": (3, 8, 8)}, "1 channels, data.image asks for 3", "[1, 8, 8]"),
    ],
)
def test_data_that_cannot_serve_says_why(
    make_data: MakeData, own: Path, changes: dict[str, object], complaint: str, remedy: str
) -> None:
    with pytest.raises(DataError) as caught:
        load_training(make_data(**changes), 0, own)
    assert complaint in caught.value.what
    assert remedy in caught.value.remedy


def test_labels_beyond_the_recipes_are_refused(make_data: MakeData, tmp_path: Path) -> None:
    images = np.zeros((40, 8, 8), np.uint8)
    np.savez(tmp_path / "own.npz", x_train=images, y_train=np.arange(40) % 3)
    with pytest.raises(DataError, match="labels run from 0 to 2, but the recipe names 2 classes"):
        load_training(make_data(test=4), 0, tmp_path)


def test_too_few_calibration_images(make_data: MakeData, own: Path) -> None:
    with pytest.raises(DataError, match="91 calibration images asked for, but only 90") as caught:
        load_calibration(make_data(test=20), 0, own, 91)
    assert caught.value.remedy == "ask for at most 90"


def test_a_manifest_changes_with_the_data(make_data: MakeData, own: Path) -> None:
    before = manifest(make_data(), own)
    assert before == {"name": "npz", "files": {"own.npz": sha256(own / "own.npz")}}
    np.savez(own / "own.npz", x_train=np.zeros((2, 8, 8), np.uint8), y_train=np.arange(2))
    assert manifest(make_data(), own) != before


def test_a_manifest_of_data_not_fetched(make_data: MakeData, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        manifest(make_data(name="cifar-10"), tmp_path)
    assert caught.value.remedy == "kpufit data cifar-10"


def modules() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_only_evaluate_reads_test_images() -> None:
    heldout, read_test = "pipeline.training.data.heldout", "pipeline.training.data.parts.read_test"
    users = {name: imported(tree) for name, tree in modules()}
    assert {name for name, names in users.items() if heldout in names} <= {"pipeline/stages/evaluate.py"}
    assert {name for name, names in users.items() if read_test in names} == {"pipeline/training/data/heldout.py"}


def test_nothing_outside_reads_image_files_by_itself() -> None:
    """Every way to images but `load`, `loose` (training images alone) and `heldout` stays inside `training/data`."""
    package = "pipeline.training.data."
    open_to_all = {"load", "loose", "sets", "fetch", "manifest", "heldout"}
    for name, tree in modules():
        if name.startswith("pipeline/training/data/"):
            continue
        used = {each.removeprefix(package).split(".")[0] for each in imported(tree) if each.startswith(package)}
        assert used <= open_to_all, name
        assert not {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} & {"x_test", "y_test"}


@pytest.mark.bench
def test_the_shipped_set_can_be_made_again(tmp_path: Path) -> None:
    """Fetches the whole of Fashion-MNIST."""
    from pipeline.training.data.mini import make  # noqa: PLC0415

    make(tmp_path, tmp_path / "mini.npz", tmp_path / "mini.json")
    assert sha256(tmp_path / "mini.npz") == sha256(MINI_FILE)
    assert (tmp_path / "mini.json").read_bytes() == MINI_FILE.with_suffix(".json").read_bytes()
