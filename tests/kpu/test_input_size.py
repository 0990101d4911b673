"""Which smaller image fits the KPU's memory where the network's own does not."""

from __future__ import annotations

from collections import OrderedDict

import onnx
import pytest
from torch import nn

from pipeline.kpu import limits
from pipeline.kpu.check import check_network
from pipeline.kpu.input_size import STEP, FittingSize, fitting_size
from pipeline.kpu.prediction import predict
from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx
from pipeline.network.modules import Reshape


def network(height: int, width: int, tail: nn.Module, channels: int = 32) -> onnx.ModelProto:
    layers = OrderedDict(first=nn.Conv2d(3, channels, 3, 1, 1), act=nn.ReLU(), second=nn.Conv2d(channels, 8, 3, 2, 1))
    layers["tail"] = tail
    return to_onnx(nn.Sequential(layers), InputContract((3, height, width), (0.0,) * 3, (1.0,) * 3))


TAILS = {
    "map": lambda height, width: nn.Conv2d(8, 8, 1),
    "global pool": lambda height, width: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    "pool of the map's size": lambda height, width: nn.AvgPool2d((height // 2, width // 2)),
    "flattened": lambda height, width: nn.Sequential(nn.Flatten(), nn.Linear(2 * height * width, 4)),
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(("height", "width"), [(256, 256), (192, 320)])
def test_the_size_fits_and_the_next_one_does_not(tail: str, height: int, width: int) -> None:
    make = TAILS[tail]
    model = network(height, width, make(height, width))
    assert predict(model).kpu_bytes > limits.KPU_MEMORY_BYTES
    found = check_network(model).fitting
    assert found is not None
    assert found.height % STEP == found.width % STEP == 0
    assert abs(found.height / found.width - height / width) < STEP / min(found.height, found.width)
    assert predict(network(found.height, found.width, make(found.height, found.width))).kpu_bytes <= (
        limits.KPU_MEMORY_BYTES
    )
    longer = max(found.height, found.width) + STEP
    next_size = [round(side * longer / max(height, width) / STEP) * STEP for side in (height, width)]
    assert predict(network(*next_size, make(*next_size))).kpu_bytes > limits.KPU_MEMORY_BYTES
    assert bool(found.trained_anew) == (tail == "flattened")


def test_a_network_that_fits_has_none_to_look_for() -> None:
    assert check_network(network(64, 64, nn.Identity())).fitting is None


def test_a_network_of_one_size_has_no_other() -> None:
    tail = nn.Sequential(Reshape((8 * 128, 128)), nn.Softmax(2))
    assert fitting_size(network(256, 256, tail)) is None


def test_products_name_what_they_have_other_weights_for() -> None:
    model = network(256, 256, TAILS["flattened"](256, 256))
    found = fitting_size(model)
    assert isinstance(found, FittingSize)
    assert set(found.trained_anew) == {node.name for node in model.graph.node if node.op_type == "Gemm"}
