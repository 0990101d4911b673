"""A user's PyTorch factory and state dict → ONNX. Runs in the importing process."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import NetworkError
from pipeline.network.importers.job import Job

_INSIDE = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts keep the state dict, beside epochs and optimisers."""

_PREFIXES = ("module.", "_orig_mod.")
"""What nn.DataParallel and torch.compile put before every name."""


def export(job: Job, target: Path) -> None:
    """Write the network of ``job`` to ``target`` as ONNX, BatchNorm kept.

    Raises:
        NetworkError: the factory, the weights, or both together.
    """
    assert job.image is not None  # a PyTorch network does not know its image
    network = _build(job.factory)
    _load(network, read_weights(Path(job.file)), job.file)
    network.eval()
    try:
        torch.onnx.export(
            network,
            (torch.zeros(1, *job.image),),
            str(target),
            opset_version=13,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            input_names=["image"],
            dynamic_axes={"image": {0: "N"}},
        )
    except Exception as error:  # the user's forward may raise anything
        raise NetworkError(
            f"cannot be exported for an image of {' × '.join(map(str, job.image))} ({_line(error)})",
            where=job.factory,
            remedy="check the recipe's image; operators without ONNX form must be replaced in the network",
        ) from error


def _build(factory: str) -> nn.Module:
    module_name, function = factory.split(":")
    try:
        network = getattr(importlib.import_module(module_name), function)()
    except Exception as error:  # the user's code may raise anything
        raise NetworkError(
            f"cannot be called ({_line(error)})",
            where=factory,
            remedy="it must be a function without arguments in a module that can be imported from the project's folder",
        ) from error
    if not isinstance(network, nn.Module):
        raise NetworkError(f"gives a {type(network).__name__}, not an nn.Module", where=factory)
    return network


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the state dict in ``file``, its names as the network has them; no pickled code is run.

    Raises:
        NetworkError: the file cannot be read, or holds other things than tensors.
    """
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file  # noqa: PLC0415

            found: Any = load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise NetworkError(
            "holds Python objects, not weights alone, or is damaged",
            where=str(file),
            remedy="save the weights alone: torch.save(network.state_dict(), path)",
        ) from error
    except Exception as error:  # torch and safetensors raise many kinds for a torn file
        raise NetworkError(
            f"cannot be read ({_line(error)})", where=str(file), remedy="copy or save it again"
        ) from error
    for key in _INSIDE:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
            break
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise NetworkError(
            "holds no state dict", where=str(file), remedy="save it with torch.save(network.state_dict(), path)"
        )
    weights = {str(name): value for name, value in found.items()}
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _load(network: nn.Module, weights: dict[str, Tensor], file: str) -> None:
    own = network.state_dict()
    missing = [name for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    unknown = [name for name in weights if name not in own]
    sizes = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    for what, names in (("lacks", missing), ("has beyond the network", unknown), ("has in another size", sizes)):
        if names:
            shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
            raise NetworkError(
                f"{what} {shown}", where=file, remedy="give the function that builds the network these weights are of"
            )
    network.load_state_dict(weights, strict=False)


def _line(error: BaseException) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
