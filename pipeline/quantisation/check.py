"""What is refused before TensorFlow is even started, with the name of the ONNX layer."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from pipeline.errors import DataError, NetworkError
from pipeline.network.contract import InputContract
from pipeline.quantisation.channel_groups import attribute, constants
from pipeline.training.data.sets import DataSet

SUPPORTED = frozenset(
    {
        *("Conv", "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "Concat", "Pad", "Resize"),
        *("Relu", "Clip", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Softplus", "HardSigmoid", "HardSwish", "Softmax"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"),
        *("Flatten", "Reshape", "Squeeze", "Transpose", "Identity", "Dropout", "Cast", "Constant"),
        "BatchNormalization",  # folded before
    }
)
"""ONNX operators that, in the uses of image classifiers, have a Keras layer of ours."""

_FEWEST_CALIBRATION = 4


def check_network(model: onnx.ModelProto) -> None:
    """Refuse a network that cannot be carried to TensorFlow.

    Raises:
        NetworkError: names the layer and the operator, or the weights that are not finite.
    """
    if len(model.graph.output) != 1:
        raise NetworkError(
            f"{len(model.graph.output)} outputs; quantisation carries networks with one",
            where="network",
            remedy="cut the network in two, or concatenate its outputs on the host",
        )
    bounds = {name for node in model.graph.node if node.op_type in ("Clip", "Pad") for name in node.input[1:]}
    for tensor in model.graph.initializer:
        numbers = numpy_helper.to_array(tensor)
        if numbers.dtype.kind == "f" and tensor.name not in bounds and not np.isfinite(numbers).all():
            raise NetworkError(
                f"{int((~np.isfinite(numbers)).sum())} weights are NaN or infinite",
                where=tensor.name,
                remedy="train the network again, with a smaller learning rate",
            )
    values = constants(model)
    for node in model.graph.node:
        reason = "" if node.op_type in SUPPORTED else f"operator {node.op_type} has no Keras layer"
        groups = attribute(node, "group", 1)
        if node.op_type == "Conv" and groups > 1 and values[node.input[1]].shape[:2] != (groups, 1):
            reason = f"Conv with {groups} groups is neither an ordinary nor a depthwise convolution"
        if node.op_type == "Reshape" and node.input[1] in values and values[node.input[1]].size != 2:
            reason = f"reshape to {values[node.input[1]].size} axes; only flattening to N×K has a Keras layer"
        if reason:
            raise NetworkError(
                reason,
                where=node.name or node.output[0],
                remedy="run `replace` first, or see `kpufit check` for what the KPU can do with this layer",
            )


def check_images(
    contract: InputContract, calibration: NDArray[np.uint8], sets: dict[str, DataSet | None], classes: int | None
) -> None:
    """Refuse images that the network cannot take, or too few of them.

    Raises:
        DataError: names the set and what is allowed.
    """
    if len(calibration) < _FEWEST_CALIBRATION:
        raise DataError(
            f"{len(calibration)} calibration images are too few to tell the activations' ranges",
            where="quantise.calibration.images",
            remedy=f"give at least {_FEWEST_CALIBRATION}, better 128 or more",
        )
    named = {"calibration": calibration, **{name: data.images for name, data in sets.items() if data is not None}}
    for name, images in named.items():
        if images.dtype != np.uint8 or images.shape[1:] != contract.image:
            raise DataError(
                f"images are {images.dtype} {'×'.join(map(str, images.shape[1:]))}, the network takes "
                f"uint8 {'×'.join(map(str, contract.image))}",
                where=name,
                remedy="give images of the network's channels, height and width",
            )
    for name, data in sets.items():
        if data is not None and (not len(data) or (classes is not None and int(data.labels.max()) >= classes)):
            raise DataError(
                f"{len(data)} images with labels up to {int(data.labels.max()) if len(data) else 'none'}, "
                f"the network tells {classes} classes apart",
                where=name,
                remedy="give images of the classes that the network was trained on",
            )
