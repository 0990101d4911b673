"""Why replacement left a layer, carried in the network's file and shown with what check finds there."""

from __future__ import annotations

from collections import OrderedDict

import onnx
import pytest
from torch import Tensor, nn

from pipeline.kpu.check import check_network
from pipeline.kpu.kept import read_kept, write_kept
from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx
from pipeline.network.modules import Concat

REASON = "concat-merge: it would take more than it saves"


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.join = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 5, 1, 2), Concat(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.left(x), self.right(x))


@pytest.fixture
def model() -> onnx.ModelProto:
    layers = OrderedDict(twice=Twice(), last=nn.Conv2d(16, 4, 1))
    return to_onnx(nn.Sequential(layers), InputContract((3, 32, 32), (0.0,) * 3, (1.0,) * 3))


def concat(model: onnx.ModelProto) -> str:
    return next(node.name for node in model.graph.node if node.op_type == "Concat")


def test_reasons_survive_the_file_and_replace_each_other(model: onnx.ModelProto) -> None:
    write_kept(model, {"other": "old"})
    write_kept(model, {concat(model): REASON})
    assert read_kept(onnx.load_model_from_string(model.SerializeToString())) == {concat(model): REASON}
    write_kept(model, {})
    assert read_kept(model) == {}
    assert not any("kept" in entry.key for entry in model.metadata_props)


def test_check_gives_the_reason_where_replacement_would_mend(model: onnx.ModelProto) -> None:
    assert not any(finding.kept for finding in check_network(model).findings)
    write_kept(model, {concat(model): REASON})
    checked = check_network(model)
    assert {finding.layer: finding.kept for finding in checked.left if finding.kept} == {concat(model): REASON}
    assert {finding.rule for finding in checked.left} == {"concat", "kernel"}
    assert all(("kept" in finding.to_json()) == bool(finding.kept) for finding in checked.findings)


@pytest.mark.parametrize("value", ["", "{", "[1]", '{"a": 1}', '"text"'])
def test_a_torn_reason_is_none(model: onnx.ModelProto, value: str) -> None:
    model.metadata_props.add(key="kpufit.kept", value=value)
    assert read_kept(model) == {}
