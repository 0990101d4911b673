"""`kpufit replace`: a network on its own, with images or without."""

from __future__ import annotations

import json
import re
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from replacement_samples import lifted
from samples_structure import Parallel
from torch import nn
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import DataError
from pipeline.network.contract import InputContract
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.network.modules import Add
from pipeline.network.read import load_onnx
from pipeline.recipe import Replace, load_recipe
from pipeline.replacement.standalone import replace_alone
from pipeline.training.accuracy import accuracy
from pipeline.training.data.load import load_training
from pipeline.training.data.loose import Loose, load_images
from pipeline.training.data.sets import DataSet
from pipeline.training.loop import FitSettings, fit

ROOT = Path(__file__).parents[2]


def large_kernels() -> OrderedDict[str, nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 5, 2, 2), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)]
    return OrderedDict((f"l{index}", layer) for index, layer in enumerate(layers))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DataSet, DataSet]:
    """A network with a 5×5 as a file, the images it learnt from, and others."""
    data = load_training(load_recipe(ROOT / "recipes" / "fashion-mnist-mini.yaml").data, 0, ROOT)
    train = data.train.take(np.arange(1000))
    contract = InputContract((1, 32, 32), (0.286,), (0.353,))
    torch.manual_seed(0)
    network = nn.Sequential(large_kernels())
    fit(network, train, contract, FitSettings(epochs=8, lr=0.1, batch=32), seed=0)
    path = tmp_path_factory.mktemp("alone") / "network.onnx"
    onnx.save(to_onnx(network, contract), path)
    return path, train, data.validation


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["replace", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.mark.parametrize("labelled", [True, False])
def test_with_images_it_learns_and_judges_on_others(
    trained: tuple[Path, DataSet, DataSet], tmp_path: Path, labelled: bool
) -> None:
    path, train, unseen = trained
    arrays = {"x_train": train.images[:, 0]} | ({"y_train": train.labels} if labelled else {})
    np.savez(tmp_path / "data.npz", **arrays)
    out = tmp_path / "out.onnx"
    code, text = run(
        path, "-o", out, "-d", tmp_path / "data.npz", "--regression-steps", "200", "--distil-steps", "100",
        "--max-drop", "0.05" if labelled else "0.15", "--json",
    )  # fmt: skip
    values = json.loads(text)
    assert values["judged"] == ("labels" if labelled else "likeness")
    assert code == 0
    assert values["left"] == []
    assert values["report"]["accepted"]
    assert values["report"]["accuracy"]["before"] == 1.0 or labelled
    assert values["compiles"]
    model = load_onnx(out)
    kernels = {tuple(a.ints) for node in model.graph.node for a in node.attribute if a.name == "kernel_shape"}
    assert kernels == {(3, 3)}
    contract = InputContract((1, 32, 32), (0.286,), (0.353,))
    before = accuracy(to_torch(load_onnx(path)), unseen, contract)
    assert accuracy(to_torch(model), unseen, contract) > before - 0.05


def test_without_images_the_structure_is_made_and_marked(
    trained: tuple[Path, DataSet, DataSet], tmp_path: Path
) -> None:
    code, text = run(trained[0], "-o", tmp_path / "out.onnx")
    assert code == 0
    assert "unverified" in text
    assert "large-kernel (learned)" in text
    assert (tmp_path / "out.onnx").exists()


def test_what_cannot_be_mended_is_named_and_the_rest_is_done(tmp_path: Path) -> None:
    layers = large_kernels()
    layers["l3"] = nn.Softmax(1)
    sample = lifted(layers, (1, 32, 32))
    onnx.save(to_onnx(sample.network, sample.contract), tmp_path / "in.onnx")
    code, text = run(tmp_path / "in.onnx", "-o", tmp_path / "out.onnx", "--json")
    values = json.loads(text)
    assert code == 1
    assert {finding["layer"] for finding in values["left"]} == {"l3"}
    assert all(finding["why"] for finding in values["left"])
    assert "l2_part1" in {node.name for node in onnx.load(tmp_path / "out.onnx").graph.node}


def test_nothing_to_replace_takes_under_two_seconds() -> None:
    layers = OrderedDict(
        conv=nn.Conv2d(3, 16, 3, 1, 1), act=nn.ReLU6(), down=nn.Conv2d(16, 32, 3, 2, 1), more=nn.ReLU6()
    )
    layers.update(pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), classifier=nn.Linear(32, 10))
    sample = lifted(layers, (3, 96, 96))
    began = time.perf_counter()
    done = replace_alone(sample.network, sample.contract, None, Replace(max_drop=0.01, distil_steps=100), seed=0)
    assert time.perf_counter() - began < 2
    assert done.replaced.report.notes == ("nothing to replace: the network is unchanged",)
    made, given = done.replaced.network.state_dict(), sample.network.state_dict()
    assert made.keys() == given.keys()
    assert all(torch.equal(value, given[name]) for name, value in made.items())


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ({"images": np.zeros((2, 8, 8), np.uint8)}, "no x_train"),
        ({"x_train": np.zeros((2, 8, 8), np.float32)}, "float32"),
        ({"x_train": np.zeros((0, 8, 8), np.uint8)}, r"\(0, 8, 8\)"),
        ({"x_train": np.zeros((2, 8, 8), np.uint8), "y_train": np.zeros(3, np.int64)}, "3 values for 2 images"),
        ({"x_train": np.array([{}], object)}, "cannot be read"),
    ],
)
def test_bad_images_are_refused(arrays: dict[str, np.ndarray], what: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DataError, match=what):
        load_images(tmp_path / "bad.npz", (1, 8, 8))
    with pytest.raises(DataError, match="no images"):
        (tmp_path / "empty").mkdir()
        load_images(tmp_path / "empty", (1, 8, 8))


def test_a_folder_of_images_needs_no_classes(tmp_path: Path) -> None:
    for index in range(3):
        Image.fromarray(np.full((10, 12, 3), 40 * index, np.uint8)).save(tmp_path / f"{index}.png")
    found = load_images(tmp_path, (3, 8, 8))
    assert not found.labelled
    assert found.data.images.shape == (3, 3, 8, 8)
    assert found.data.images[2].max() == 80


def test_what_stays_says_what_its_form_would_cost(tmp_path: Path) -> None:
    body = nn.Sequential(nn.Conv2d(128, 32, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 1, 1), nn.ReLU(), nn.Conv2d(32, 128, 1))
    layers = OrderedDict(
        stem=nn.Conv2d(3, 128, 3, 1, 1), act=nn.ReLU(), block=Parallel(Add(), nn.Identity(), body), after=nn.ReLU()
    )
    sample = lifted(layers, (3, 8, 8))
    given, made = tmp_path / "given.onnx", tmp_path / "made.onnx"
    onnx.save(to_onnx(sample.network, sample.contract), given)
    code, out = run(given, "-o", made, "--json")
    assert code == 0
    (left,) = json.loads(out)["left"]
    assert (left["rule"], left["severity"]) == ("residual-add", "memory")
    assert re.search(
        r"residual-merge, residual-carry: merged, it would take [\d,]+ bytes of main memory .* and as it is",
        left["kept"],
    )
    checked = CliRunner().invoke(app, ["check", str(made), "--json"])
    assert [finding for finding in json.loads(checked.output)["findings"] if "kept" in finding] == [left]


class WideTrunk(nn.Module):
    """A sum of two maps of more channels than the KPU counts, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.sum = nn.Conv2d(1, 1100, 3, 2, 1), nn.Conv2d(1, 1100, 3, 2, 1), Add()
        self.relu, self.pool, self.flat = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.head = nn.Linear(1100, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.flat(self.pool(self.relu(self.sum(self.left(x), self.right(x))))))
        return logits


@pytest.mark.parametrize("with_images", [True, False])
def test_channels_that_no_rule_can_take_away_go_first(tmp_path: Path, with_images: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = WideTrunk().eval()
    onnx.save(to_onnx(network, InputContract((1, 8, 8), (0.0,), (1.0,))), tmp_path / "in.onnx")
    np.savez(tmp_path / "data.npz", x_train=np.random.default_rng(0).integers(0, 256, (100, 8, 8), np.uint8))
    data = ["-d", tmp_path / "data.npz", "--max-drop", "0.3", "--distil-steps", "20"] if with_images else []
    _, text = run(tmp_path / "in.onnx", "-o", tmp_path / "out.onnx", "--json", *data)
    values = json.loads(text)
    assert values["report"]["notes"][0].startswith("narrowed to the channels that the KPU counts")
    widths = [
        module.out_channels
        for module in to_torch(load_onnx(tmp_path / "out.onnx")).modules()
        if isinstance(module, nn.Conv2d)
    ]
    assert max(widths) == 1024


def test_a_network_that_narrowing_would_spoil_stays_wide_and_says_so(tmp_path: Path) -> None:
    data = DataSet(np.random.default_rng(0).integers(0, 256, (50, 1, 8, 8), np.uint8), np.zeros(50, np.int64))
    network = lifted(OrderedDict(conv=nn.Conv2d(1, 3, 3, 1, 1), act=nn.ReLU()), (1, 8, 8))
    spoiled = lifted(OrderedDict(conv=nn.Conv2d(1, 3, 3, 1, 1), act=nn.ReLU()), (1, 8, 8), seed=1).network
    settings = Replace(max_drop=0.01, distil_steps=0)
    done = replace_alone(
        network.network, network.contract, Loose(data, labelled=False), settings, seed=0, narrow=lambda *_: spoiled
    )
    report = done.replaced.report
    assert report.notes[0].startswith("left wider than the KPU counts")
    assert report.accepted
    wanted, given = (net.get_submodule("conv").weight for net in (network.network, done.replaced.network))
    assert torch.equal(wanted, given)
