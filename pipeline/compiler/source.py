"""A network's bytes, looked at before nncase sees them: it crashes on many, and quantises NaN without a word."""

from __future__ import annotations

import struct

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper

from pipeline.errors import NetworkError

_TFLITE_MAGIC = b"TFL3"  # at byte 4, tensorflow/lite/schema/schema.fbs: file_identifier
_FLOAT_REMEDY = "give the float network: nncase quantises it itself, with the calibration images"
_DTYPES = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.FLOAT16: np.float16}


def checked_tflite(network: bytes, image: tuple[int, int, int], *, where: str = "") -> bytes:
    """Return a float TFLite file that nncase can be given.

    Args:
        network: the file's bytes.
        image: channels, height, width of its input, which is N×H×W×C.
        where: its name, for messages.

    Raises:
        NetworkError: it is empty, torn or no TFLite file, quantised, or has another input or non-finite weights.
    """
    if network[4:8] != _TFLITE_MAGIC:
        raise NetworkError("is not a TFLite file", where=where, remedy="give a float .tflite file")
    try:
        model = schema.Model.GetRootAs(network)
        if model.SubgraphsLength() != 1:
            raise NetworkError(f"has {model.SubgraphsLength()} subgraphs, not one", where=where)
        graph = model.Subgraphs(0)
        if graph.InputsLength() != 1:
            raise NetworkError(f"has {graph.InputsLength()} inputs, not one", where=where)
        channels, height, width = image
        entry = graph.Tensors(graph.Inputs(0))
        shape = [int(size) for size in entry.ShapeAsNumpy()] if entry.ShapeLength() else []
        if entry.Type() != schema.TensorType.FLOAT32:
            raise NetworkError("is quantised already, which nncase 1.9 crashes on", where=where, remedy=_FLOAT_REMEDY)
        if shape != [1, height, width, channels]:
            raise NetworkError(f"its input is {shape}, not {[1, height, width, channels]} (N×H×W×C)", where=where)
        for index in range(graph.TensorsLength()):
            tensor = graph.Tensors(index)
            dtype = _DTYPES.get(tensor.Type())
            buffer = model.Buffers(tensor.Buffer())
            if dtype is not None and buffer.DataLength():
                _refuse_non_finite(np.frombuffer(buffer.DataAsNumpy(), dtype), tensor.Name().decode(), where)
    except (struct.error, ValueError, TypeError, AttributeError, IndexError) as error:
        raise NetworkError(f"is damaged ({error})", where=where, remedy="make the file again") from error
    return network


def checked_onnx(network: bytes, image: tuple[int, int, int], *, where: str = "") -> bytes:
    """Return an ONNX file that nncase can be given: one image at a time, every shape inferred.

    Args:
        network: the file's bytes.
        image: channels, height, width of its input, which is N×C×H×W.
        where: its name, for messages.

    Raises:
        NetworkError: it is empty, torn or no ONNX file, or has another input or non-finite weights.
    """
    try:
        model = onnx.load_model_from_string(network)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no protobuf message"
        raise NetworkError(
            f"is empty, damaged or no ONNX file ({reason})", where=where, remedy="export it again"
        ) from error
    for tensor in model.graph.initializer:
        _refuse_non_finite(numpy_helper.to_array(tensor), tensor.name, where)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise NetworkError(f"has {len(inputs)} inputs, not one", where=where)
    dims = inputs[0].type.tensor_type.shape.dim
    if tuple(dim.dim_value for dim in dims[1:]) != image:
        shape = [dim.dim_value or dim.dim_param for dim in dims]
        raise NetworkError(f"its input is {shape}, not {['N', *image]} (N×C×H×W)", where=where)
    for value in (inputs[0], *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]  # shapes inferred for another batch
    # Without the shapes inside, nncase says "Can't find value info", or aborts.
    inferred: bytes = onnx.shape_inference.infer_shapes(model).SerializeToString()
    return inferred


def _refuse_non_finite(values: NDArray[np.generic], name: str, where: str) -> None:
    if not np.issubdtype(values.dtype, np.floating):
        return
    may_be_infinite = values.size == 1  # the bound of a Clip
    if np.isnan(values).any() or not (may_be_infinite or np.isfinite(values).all()):
        raise NetworkError(
            f"tensor {name} holds NaN or infinite weights",
            where=where,
            remedy="train again, with a lower learning rate",
        )
