"""A project in which single stages run, with what earlier stages would have made."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from projects import TINY, make_folder
from refusals import leave_earlier_results
from tflite_files import tflite

from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx
from pipeline.network.trace import trace
from pipeline.network.zoo import build

IMAGE = (1, 32, 32)
CONTRACT = InputContract(IMAGE, (0.25,), (0.3,))


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("template"))


@pytest.fixture
def project(_template: Path, tmp_path: Path) -> Path:
    """The tiny recipe's project, without DVC, with the results of an earlier run."""
    folder = tmp_path / "project"
    shutil.copytree(_template, folder)
    leave_earlier_results(folder)
    return folder


@pytest.fixture(scope="session")
def _network() -> onnx.ModelProto:
    torch.manual_seed(0)
    return to_onnx(trace(build("convnet5x5", IMAGE, 4, 4)), CONTRACT)


@pytest.fixture
def network(_network: onnx.ModelProto) -> onnx.ModelProto:
    """A classifier of the tiny recipe's images, untrained, to be changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(_network)
    return copy


@pytest.fixture
def before_convert(project: Path, network: onnx.ModelProto) -> Path:
    """The project with all that ``convert`` reads, and with none of its own results."""
    out = project / "out" / "tiny"
    chosen = {section: TINY[section] for section in ("prune", "replace", "quantise")}
    (out / "search" / "chosen.yaml").write_text(yaml.safe_dump(chosen))
    (out / "replace" / "network.onnx").write_bytes(network.SerializeToString())
    filters = np.random.default_rng(0).normal(0, 0.2, (4, 3, 3, 1)).astype(np.float32)
    (out / "quantise" / "network.tflite").write_bytes(tflite(filters, size=32))
    shutil.rmtree(out / "convert")
    return project
