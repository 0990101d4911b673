"""Bad recipes, networks and data, through the commands that users and DVC run: code 2, one message, no file changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from projects import TRAIN_IMAGES, kpufit, replace_section, run, set_recipe
from refusals import Command, kpufit_command, refuses, stage

USERS = "models/users.onnx"


def bring(project: Path, content: bytes) -> None:
    """Make the recipe take an ONNX file as it is."""
    (project / "models").mkdir()
    (project / USERS).write_bytes(content)
    replace_section(project, "model", {"source": "onnx", "path": USERS})
    replace_section(project, "train", None)


@pytest.mark.parametrize("command", [stage("train", "nothing"), kpufit_command("run", "nothing")])
def test_unknown_recipe(project: Path, command: Command) -> None:
    refuses(project, command, "nothing")


def test_an_unlisted_recipe_says_how_to_list_it(project: Path) -> None:
    (project / "recipes" / "other.yaml").write_text((project / "recipes" / "tiny.yaml").read_text())
    refuses(project, kpufit_command("run", "other"), "not listed", "kpufit add other")


@pytest.mark.parametrize(
    ("section", "change", "says"),
    [
        ("train", {"epoch": 3}, ["train.epoch:", "not a key", "epochs"]),
        ("train", {"batch": "many"}, ["train.batch:", "'many'"]),
        ("gate", {"max_drop": 2}, ["gate.max_drop:", "less than or equal to 1"]),
        ("quantise", {"calibration": {"images": 3}}, ["quantise.calibration.images:", "greater than or equal to 4"]),
        ("target", {"firmware": "nothing"}, ["target.firmware:", "'nothing'", "maixpy-full"]),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_is_allowed(
    project: Path, section: str, change: dict[str, object], says: list[str]
) -> None:
    set_recipe(project, section, **change)
    refuses(project, stage("search"), "recipes/tiny.yaml", *says)


def test_what_is_wrong_in_a_recipe_is_said_before_dvc_starts(project: Path) -> None:
    set_recipe(project, "target", firmware="nothing")
    refuses(project, kpufit_command("run"), "recipes/tiny.yaml", "target.firmware", "maixpy-full")


@pytest.mark.parametrize("text", ["seed: [", "- a list", "", "\x00", "seed: 0\n"])
def test_a_file_that_is_no_recipe(project: Path, text: str) -> None:
    (project / "recipes" / "tiny.yaml").write_text(text)
    refuses(project, stage("search"), "recipes/tiny.yaml")


def test_an_unknown_architecture_lists_the_known(project: Path) -> None:
    set_recipe(project, "model", name="nothing")
    refuses(project, stage("train"), "model.name", "'nothing'", "convnet5x5")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(lambda whole: whole[: len(whole) // 2], "truncated", id="truncated"),
        pytest.param(lambda _: b"", "is empty", id="empty"),
        pytest.param(lambda _: b"garbage" * 99, "not an ONNX file", id="garbage"),
    ],
)
def test_an_onnx_file_that_is_not_whole(
    project: Path, network: onnx.ModelProto, spoil: Callable[[bytes], bytes], says: str
) -> None:
    bring(project, spoil(network.SerializeToString()))
    refuses(project, stage("train"), USERS, says, "export the model again")


def test_an_onnx_file_that_is_missing(project: Path) -> None:
    bring(project, b"")
    (project / USERS).unlink()
    refuses(project, stage("train"), USERS, "No such file")


def test_an_unsupported_operator_is_named_with_its_layer(project: Path, network: onnx.ModelProto) -> None:
    last = network.graph.node[-1]
    last.output[0], logits = "before_sine", last.output[0]
    network.graph.node.append(helper.make_node("Sin", ["before_sine"], [logits], name="head/sine"))
    bring(project, network.SerializeToString())
    refuses(project, stage("train"), USERS, "Sin", "head/sine")


def test_weights_that_are_nan_are_named_with_their_layer(project: Path, network: onnx.ModelProto) -> None:
    convolution = next(node for node in network.graph.node if node.op_type == "Conv")
    weights = next(tensor for tensor in network.graph.initializer if tensor.name == convolution.input[1])
    values = numpy_helper.to_array(weights).copy()
    values[0, 0, 0, 0] = np.nan
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    bring(project, network.SerializeToString())
    refuses(project, stage("train"), USERS, convolution.name, repr(weights.name), "1 NaN of")


def test_a_users_network_is_taken_as_it_is(project: Path, network: onnx.ModelProto) -> None:
    bring(project, network.SerializeToString())
    done = run(project, *stage("train"))
    assert done.returncode == 0, done.stderr
    taken = onnx.load(project / "out" / "tiny" / "train" / "network.onnx")
    before, after = (
        {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer} for model in (network, taken)
    )
    assert before.keys() == after.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)


def test_a_users_code_does_not_run_without_trust(project: Path) -> None:
    (project / "users.py").write_text("open('it ran', 'w').close()\n")
    (project / "users.pt").write_bytes(b"")
    replace_section(project, "model", {"source": "torch", "factory": "users:build", "weights": "users.pt"})
    refuses(project, stage("train"), "users:build", "--trust")


@pytest.mark.parametrize("command", [stage("train"), kpufit_command("run")])
def test_missing_data_says_how_to_fetch_it(project: Path, command: Command) -> None:
    set_recipe(project, "data", name="fashion-mnist", path=None)
    refuses(project, command, "fashion-mnist", "kpufit data fashion-mnist")


def test_a_users_data_that_is_missing_is_named(project: Path) -> None:
    (project / "data" / "bars.npz").unlink()
    refuses(project, kpufit_command("run"), "data/bars.npz")


def test_data_that_is_torn_is_named(project: Path) -> None:
    data = project / "data" / "bars.npz"
    data.write_bytes(data.read_bytes()[:5000])
    refuses(project, stage("train"), "data/bars.npz")


def test_too_few_calibration_images(before_convert: Path) -> None:
    chosen = before_convert / "out" / "tiny" / "search" / "chosen.yaml"
    chosen.write_text(chosen.read_text().replace("images: 64", f"images: {TRAIN_IMAGES}"))
    available = TRAIN_IMAGES - 80  # held out for validation
    refuses(before_convert, stage("convert"), "quantise.calibration.images", f"ask for at most {available}")


@pytest.mark.parametrize(("text", "says"), [("prune: [", "line 1, column 9"), ("prunes: 1", "prunes: is not a key")])
def test_a_chosen_yaml_that_someone_spoiled(before_convert: Path, text: str, says: str) -> None:
    (before_convert / "out" / "tiny" / "search" / "chosen.yaml").write_text(text)
    refuses(before_convert, stage("convert"), "search/chosen.yaml", says)


@pytest.mark.parametrize(
    ("name", "missing"),
    [("convert", "quantise/network.tflite"), ("gate", "convert/network.kmodel"), ("accept", "gate/verdict.json")],
)
def test_a_stage_before_its_time_says_which_comes_first(before_convert: Path, name: str, missing: str) -> None:
    (before_convert / "out" / "tiny" / missing).unlink(missing_ok=True)
    refuses(before_convert, stage(name), f"out/tiny/{missing}", f"`{missing.split('/', maxsplit=1)[0]}` has not run")


def test_a_name_that_is_no_stage_shows_the_usage(project: Path) -> None:
    done = run(project, *stage("nothing"))
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m pipeline.stages {train,search,prune,")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("add", "nothing"), "no such recipe"),
        (("add", "elsewhere/copy.yaml"), "is not a .yaml file of recipes/"),
        (("firmware", "nothing"), "maixpy-full"),
        (("data", "nothing"), "fashion-mnist"),
        (("summary", "nothing"), "no such recipe"),
    ],
)
def test_a_command_names_what_it_does_not_know(project: Path, arguments: tuple[str, ...], says: str) -> None:
    (project / "elsewhere").mkdir()
    (project / "elsewhere" / "copy.yaml").write_text((project / "recipes" / "tiny.yaml").read_text())
    refuses(project, kpufit_command(*arguments), says, arguments[1])


def test_a_recipe_is_added_once(project: Path) -> None:
    (project / "recipes" / "second.yaml").write_text((project / "recipes" / "tiny.yaml").read_text())
    first, again = (kpufit(project, "add", "second") for _ in range(2))
    assert (first.returncode, again.returncode) == (0, 0)
    assert "added to" in first.stdout
    assert "already in" in again.stdout
    assert (project / "params.yaml").read_text().splitlines()[:3] == ["recipes:", "  - tiny", "  - second"]
    assert (project / "params.yaml").read_text().count("second") == 1


def test_a_folder_that_is_no_project(tmp_path: Path) -> None:
    refuses(tmp_path, kpufit_command("run"), "params.yaml", "in a project's folder")
