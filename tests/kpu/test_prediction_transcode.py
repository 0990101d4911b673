"""The prediction of v4 and v3 against kmodels that nncase compiled and kpufit carried over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from pipeline.kmodel.head import Head
from pipeline.kmodel.read import read
from pipeline.kmodel.transcode import transcode
from pipeline.kmodel.write import write
from pipeline.kpu.prediction import predict


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("folder", ["c1_mobilenet_gap_gemm", "c2_conv_gap_gemm"])
def test_classifiers_with_a_float_head(shared: Path, folder: str, version: int) -> None:
    golden = shared / "kmodels" / "golden" / folder
    model = onnx.load(golden / "model.onnx")
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    matrix, bias = (weights[name].astype(np.float32) for name in gemm.input[1:])
    carried = transcode(read((golden / "model_v5.kmodel").read_bytes()), version, head=Head(matrix, bias, pool=True))
    predicted = predict(model, version)
    assert predicted.kmodel_bytes == len(write(carried))
    assert predicted.heap_bytes == carried.heap_bytes
    assert predicted.kpu_bytes == carried.kpu_bytes
