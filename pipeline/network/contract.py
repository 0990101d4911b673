"""What a network's input is, and how a camera's uint8 image becomes it.

The contract travels inside the ONNX file as metadata, so that no stage needs another stage's settings: a stage
that moves the normalisation (``replace``) writes a new contract with the new weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from pipeline.errors import NetworkError

_MEAN_KEY = "kpufit.mean"
_STD_KEY = "kpufit.std"


@dataclass(frozen=True)
class InputContract:
    """The input of a network: a uint8 image N×C×H×W, taken as ``(x / 255 − mean) / std`` a channel.

    Attributes:
        image: channels, height, width.
        mean: of ``x / 255``, one a channel.
        std: of ``x / 255``, one a channel.
    """

    image: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        channels = self.image[0]
        if len(self.mean) != channels or len(self.std) != channels:
            raise NetworkError(
                f"an input of {channels} channels needs {channels} means and stds, "
                f"not {len(self.mean)} and {len(self.std)}",
                remedy="give one mean and one std a channel",
            )

    @property
    def is_uniform(self) -> bool:
        """Whether all channels share one mean and std: only then can nncase's ``input_range`` carry it."""
        return len(set(self.mean)) == 1 and len(set(self.std)) == 1

    @property
    def input_range(self) -> tuple[float, float]:
        """The network's input for pixels 0 and 255 (for nncase's ``input_range``).

        Raises:
            NetworkError: the channels differ, so that no single range exists.
        """
        if not self.is_uniform:
            raise NetworkError(
                "the input's normalisation differs from channel to channel",
                remedy="run `replace`, which folds it into the first convolution",
            )
        return (0.0 - self.mean[0]) / self.std[0], (1.0 - self.mean[0]) / self.std[0]

    def normalise(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return uint8 images N×C×H×W as the float32 N×C×H×W that the network takes."""
        mean = np.asarray(self.mean, np.float32).reshape(1, -1, 1, 1)
        std = np.asarray(self.std, np.float32).reshape(1, -1, 1, 1)
        normalised: NDArray[np.float32] = (images.astype(np.float32) / np.float32(255) - mean) / std
        return normalised


def write_contract(model: onnx.ModelProto, contract: InputContract) -> None:
    """Set the contract's mean and std in the metadata of ``model`` (in place); its image is the graph input's."""
    kept = [entry for entry in model.metadata_props if entry.key not in (_MEAN_KEY, _STD_KEY)]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=_MEAN_KEY, value=json.dumps(contract.mean))
    model.metadata_props.add(key=_STD_KEY, value=json.dumps(contract.std))


def read_contract(model: onnx.ModelProto, *, where: str = "") -> InputContract:
    """Return the contract in the metadata of ``model``.

    Raises:
        NetworkError: the model holds none, or its input is not one N×C×H×W tensor.
    """
    image_of(model, where=where)
    found = stored_contract(model)
    if found is None:
        raise NetworkError(
            "no input normalisation in the file's metadata",
            where=where,
            remedy="pass it through the `train` stage, which writes the recipe's mean and std into it",
        )
    return found


def stored_contract(model: onnx.ModelProto) -> InputContract | None:
    """Return the contract in the metadata of ``model`` (one N×C×H×W input), or None. Raises NetworkError."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    try:
        mean, std = json.loads(metadata[_MEAN_KEY]), json.loads(metadata[_STD_KEY])
    except (KeyError, ValueError):
        return None
    return InputContract(image_of(model), tuple(map(float, mean)), tuple(map(float, std)))


def image_of(model: onnx.ModelProto, *, where: str = "") -> tuple[int, int, int]:
    """Return channels, height and width of the only input of ``model``. Raises NetworkError unless it has one image."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 4:
        raise NetworkError("not a network with one N×C×H×W input", where=where)
    channels, height, width = (dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim[1:])
    return channels, height, width
