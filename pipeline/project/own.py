"""A recipe for a network and images of one's own, as far as the files themselves say."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml

from pipeline.errors import DataError, NetworkError
from pipeline.installation import shipped
from pipeline.network.importers import import_network
from pipeline.network.user_file import contract_of, read_user_file
from pipeline.project.make import Recipe
from pipeline.recipe import Recipe as Parsed
from pipeline.recipe import ZooModel, parse
from pipeline.training.data.loose import look_at

_SOURCES = {".onnx": "onnx", ".tflite": "tflite", ".h5": "keras", ".keras": "keras"}
_HELD_OUT = 10
"""One image in so many is held out for validation, and as many for the test where the data has no test part."""

_HEADER = """\
# Written by `kpufit init`. Every key: `kpufit schema`. Check mean and std (of pixels / 255) and that labels are in the
# order of the network's outputs: neither can be read from the files.
"""


def own_recipe(
    project: Path,
    name: str,
    model: Path,
    data: Path,
    firmware: str,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Recipe:
    """Return a recipe for a trained network and labelled images, in the settings of the recipe that kpufit ships.

    The network's file goes into the project; the images stay where they are.

    Args:
        project: the project's folder.
        name: of the recipe.
        model: .onnx, .tflite, .h5 or .keras, logits or a softmax out.
        data: a folder with a folder a class (or ``train`` and ``test`` with those), or an .npz with x_train, y_train.
        firmware: that it is for.
        mean: of pixels / 255: one, or one a channel; None for the file's own, else 0.
        std: likewise; None for the file's own, else 1.

    Raises:
        NetworkError: the network cannot be read, or has another number of outputs than there are classes.
        DataError: the images cannot be found, or are too few.
        RecipeError: mean or std are not one, or one a channel.
    """
    network = read_user_file(model, weights=True)
    contract = contract_of(network, mean, std, where=str(model))
    images = look_at(data, _outputs(network))
    held = max(2 * len(images.labels), images.training // _HELD_OUT)
    left = images.training - held * (1 if images.has_test else 2)
    if left < held:
        raise DataError(
            f"{images.training} images are too few for {len(images.labels)} classes", where=str(data), remedy="add some"
        )
    settings = yaml.safe_load(shipped("recipes/fashion-mnist-mini.yaml").read_text())
    calibration = {**settings["quantise"]["calibration"]}
    calibration["images"] = min(calibration["images"], left)
    kept = f"models/{model.name}"
    values: dict[str, Any] = {
        "seed": 0,
        "model": {"source": _SOURCES[model.suffix.lower()], "path": kept},
        "data": {
            "name": images.name,
            "path": _seen_from(project, data),
            "image": list(contract.image),
            "mean": [float(value) for value in contract.mean],
            "std": [float(value) for value in contract.std],
            "labels": list(images.labels),
            "validation": held,
            "test": None if images.has_test else held,
        },
        "target": {"firmware": firmware, "load": "sd", "camera": "qvga", "lcd": True},
        "train": None,
        "prune": settings["prune"],
        "replace": settings["replace"],
        "quantise": {**settings["quantise"], "calibration": calibration},
        "gate": settings["gate"],
        "search": None,
    }
    where = f"recipes/{name}.yaml"
    recipe = parse(Parsed, values, where=where)
    assert not isinstance(recipe.model, ZooModel)
    in_place = recipe.model.model_copy(update={"path": str(model.resolve())})
    import_network(in_place, recipe.data.image, len(images.labels), project)  # raises for another number of classes
    return Recipe(name, _HEADER + _yaml(values), {kept: _one_file(model)})


def _outputs(network: onnx.ModelProto) -> int:
    """How many numbers the network gives for an image; 0 where the file does not say."""
    dimensions = network.graph.output[0].type.tensor_type.shape.dim
    sizes = [dimension.dim_value for dimension in dimensions[1:]]
    return int(np.prod(sizes)) if sizes else 0


def _seen_from(project: Path, data: Path) -> str:
    """The path of the images: relative where they lie in the project, else absolute."""
    path, root = data.resolve(), project.resolve()
    return os.path.relpath(path, root) if path.is_relative_to(root) else str(path)


def _one_file(model: Path) -> bytes:
    """The network's file, with what an ONNX file keeps beside itself."""
    content = model.read_bytes()
    if model.suffix.lower() != ".onnx":
        return content
    beside = any(each.data_location == onnx.TensorProto.EXTERNAL for each in _stored(content))
    whole: bytes = onnx.load(model).SerializeToString(deterministic=True) if beside else content
    return whole


def _stored(content: bytes) -> list[onnx.TensorProto]:
    try:
        return list(onnx.load_from_string(content).graph.initializer)
    except Exception as error:
        raise NetworkError(f"cannot be read ({error})", where="model") from error


def _yaml(values: Mapping[str, Any]) -> str:
    """A section a line, as the recipes are written; data, which has long lists, a key a line."""
    lines = []
    for section, value in values.items():
        if section == "data":
            lines += ["data:", *(f"  {key}: {_flow(each)}" for key, each in value.items())]
        else:
            lines.append(f"{section}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**9, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
