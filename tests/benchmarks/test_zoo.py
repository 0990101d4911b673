"""The trained networks that the replacement benchmark starts from are whole, small and liftable."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from pipeline.kpu.check import check_network
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.stages.networks import load_network

FOLDER = Path(__file__).parents[2] / "benchmarks" / "zoo"
FILES = sorted(FOLDER.glob("*.onnx"))


def test_the_results_and_the_files_are_of_the_same_networks():
    results = json.loads((FOLDER / "results.json").read_text())
    assert {path.stem for path in FILES} == set(results)
    for name, entry in results.items():
        assert entry["network"] == name
        assert len(entry["history"]) == entry["epochs"]
        assert entry["command"].startswith(f"python -m benchmarks.zoo {name} ")
        assert abs(entry["validation_accuracy"] - entry["test_accuracy"]) < 0.02


def test_the_zoo_stays_small():
    assert sum(path.stat().st_size for path in FILES) < 12_000_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_network_is_lifted_and_written_again_with_equal_outputs(path):
    network = load_network(path)
    again = to_torch(to_onnx(network.graph, network.contract))
    images = np.random.default_rng(0).integers(0, 256, (2, *network.contract.image), np.uint8)
    x = torch.from_numpy(network.contract.normalise(images))
    with torch.no_grad():
        assert torch.equal(network.graph(x), again(x))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_network_has_something_to_replace(path):
    findings = check_network(onnx.load(path)).findings
    assert {finding.rule for finding in findings} - {"product-on-kpu"}
