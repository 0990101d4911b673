"""Slow checks: every architecture of the zoo and a real ResNet20 go through conversion without changing a digit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from pipeline.evaluation.tflite import tflite_scores
from pipeline.network import zoo
from pipeline.network.contract import InputContract
from pipeline.network.lower import to_onnx
from pipeline.quantisation.quantise import quantise
from pipeline.quantisation.settings import Settings

pytestmark = pytest.mark.bench

CONTRACT = InputContract((3, 32, 32), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Block(nn.Module):
    """He's block; its zero-padded shortcut is written as the 1×1 convolution that it equals."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(outputs), nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(outputs), nn.ReLU()
        self.skip: nn.Module = nn.Identity()
        if stride > 1:
            self.skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.skip.weight.data.zero_()
            self.skip.weight.data[outputs // 4 : outputs // 4 + inputs, :, 0, 0] = torch.eye(inputs)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(inner + self.skip(x))


class ResNet20(nn.Module):
    """For the weights of ``resnet20_cifar10.th``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.pool, self.flatten, self.linear = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x))))))
        return self.linear(self.flatten(self.pool(x)))


def check(model: onnx.ModelProto) -> None:
    """The TFLite file answers as the ONNX file does, and each convolution of it was equalised or told of."""
    coarse = np.random.default_rng(0).integers(0, 256, (64, 3, 8, 8), dtype=np.uint8)
    images = np.repeat(np.repeat(coarse, 4, axis=2), 4, axis=3)
    made = quantise(model, CONTRACT, images, settings=Settings(threads=1), notify=lambda line: None)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"image": CONTRACT.normalise(images)})[0]
    seen = tflite_scores(made.ptq.tflite, images, CONTRACT)
    assert np.abs(seen - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())
    assert len(made.report["layers"]) == sum(node.op_type in ("Conv", "Gemm") for node in model.graph.node)


def test_a_real_resnet20(shared: Path) -> None:
    path = shared / "models" / "resnet20_cifar10.th"
    if not path.exists():
        pytest.skip(f"{path.name} absent")
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    network = ResNet20().eval()
    loaded = network.load_state_dict({name.removeprefix("module."): value for name, value in state.items()}, False)
    assert not loaded.unexpected_keys
    assert set(loaded.missing_keys) == {"layer2.0.skip.weight", "layer3.0.skip.weight"}
    check(to_onnx(network, CONTRACT))


@pytest.mark.parametrize("name", zoo.names())
def test_every_architecture_of_the_zoo(name: str) -> None:
    torch.manual_seed(0)
    network = zoo.build(name, CONTRACT.image, 10, 16).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    check(to_onnx(network, CONTRACT))
