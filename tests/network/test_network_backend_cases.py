"""ONNX's own test cases for the operators that are carried: equal to their outputs, or refused for a known reason."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper, shape_inference

from pipeline.errors import NetworkError
from pipeline.network.constants import fold_constants
from pipeline.network.contract import InputContract
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.network.operators import LIFT
from pipeline.network.opset import at_least_opset_13, down_to_opset_13

CASES = Path(onnx.__file__).parent / "backend" / "test" / "data"
COLLECTIONS = ("node", "pytorch-converted", "pytorch-operator")

REFUSED = re.compile(
    r"opset 6 cannot be converted to 13"  # beyond ONNX's converter
    r"|(kernel_shape|strides) has [13] values|its (kernel|input) has [135] dimensions|[26] pads for an image"
    r"|across the images of a batch|over the images of a batch|keep the images of a batch apart"
    r"|some images of a batch|moves the batch|mixes the images|from image to image|pads the batch"
    r"|training mode|read but never made"  # also: masks, indices
    r"|cannot be carried: Dropout|indices of the maxima"
    r"|mode cubic|axes or antialias|keep_aspect_ratio|end between pixels|tf_crop_and_resize"
    r"|nearest by \[|mode linear with half_pixel_symmetric|mode linear with pytorch_half_pixel"
    r"|runs backwards|bias must be constant|that are not counted|it is dilated"
    r"|is not below its maximum|than its kernel reaches"
    r"|neither one nor one a channel|a length of 0|even window"
    r"|does not resize height and width alone|values at once instead of 2"
)


def covered() -> dict[str, list[Path]]:
    """The cases whose operators are all carried, by the first of these."""
    found = defaultdict(list)
    for collection in COLLECTIONS:
        for model in sorted((CASES / collection).glob("*/model.onnx")):
            operators = {node.op_type for node in onnx.load(model, load_external_data=False).graph.node}
            if operators and operators <= {*LIFT, "Identity", "Dropout", "Constant"}:
                found[min(operators)].append(model)
    return found


COVERED = covered()


def test_onnx_brings_its_cases():
    assert sum(map(len, COVERED.values())) > 350


def tensors(folder: Path, kind: str) -> list[np.ndarray]:
    arrays = []
    for index in range(len(list(folder.glob(f"{kind}_*.pb")))):
        tensor = onnx.TensorProto()
        tensor.ParseFromString((folder / f"{kind}_{index}.pb").read_bytes())
        arrays.append(numpy_helper.to_array(tensor))
    return arrays


def as_network(path: Path) -> tuple[onnx.ModelProto, np.ndarray, list[np.ndarray]] | None:
    """The case with its first input as the image and the others as weights; None where the image is not float32."""
    model = onnx.load(path)
    if any(value.type.WhichOneof("value") != "tensor_type" for value in model.graph.input):
        return None
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    given, expected = (
        tensors(path.parent / "test_data_set_0", "input"),
        tensors(path.parent / "test_data_set_0", "output"),
    )
    if not given or given[0].dtype != np.float32 or given[0].ndim == 0:
        return None
    model.graph.initializer.extend(
        numpy_helper.from_array(array, value.name) for array, value in zip(given[1:], inputs[1:], strict=True)
    )
    del model.graph.input[:]
    model.graph.input.append(inputs[0])
    return model, given[0], expected


@pytest.mark.parametrize("operator", sorted(COVERED))
def test_cases(operator, run_onnx):
    problems, equal = [], 0
    for path in COVERED[operator]:
        case = as_network(path)
        if case is None:
            continue
        try:
            check(*case, run_onnx)
            equal += 1
        except NetworkError as error:
            if not REFUSED.search(str(error)):
                problems.append(f"{path.parent.name}: {error}")
        except AssertionError as error:
            problems.append(f"{path.parent.name}: {error}")
    assert not problems
    assert equal or operator in ("Constant", "Identity")


def infer(model: onnx.ModelProto) -> onnx.ModelProto:
    return shape_inference.infer_shapes(model, data_prop=True)


def check(model, image, expected, run_onnx) -> None:
    model = at_least_opset_13(model, "case")
    model = down_to_opset_13(infer(fold_constants(infer(model), infer)), "case")
    network = to_torch(model)
    compare(network(torch.from_numpy(image.copy())), expected)
    if image.ndim < 2:
        return
    mixes_batch = {"Concat"} & {node.op_type for node in model.graph.node}  # a constant with the case's batch
    if mixes_batch:
        return
    contract = InputContract(image.shape[1:], (0.0,) * image.shape[1], (1.0,) * image.shape[1])
    written = to_onnx(network, contract)
    compare(run_onnx(written, image), expected)
    assert to_onnx(to_torch(written), contract).SerializeToString() == written.SerializeToString()


def compare(outputs, expected) -> None:
    outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
    assert len(outputs) == len(expected)
    for output, wanted in zip(outputs, expected, strict=True):
        got = output.detach().numpy() if isinstance(output, torch.Tensor) else output
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-5)
