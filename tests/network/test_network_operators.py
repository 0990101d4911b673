"""Every operator, module → ONNX → module, judged by ONNX Runtime and by the bytes of a second round."""

from __future__ import annotations

import math
import operator

import numpy as np
import onnx
import pytest
import torch
from torch import fx, nn

from pipeline.errors import NetworkError
from pipeline.network import modules as own
from pipeline.network.contract import InputContract, read_contract
from pipeline.network.lift import to_torch
from pipeline.network.lower import to_onnx
from pipeline.network.operators import LIFT, WRITE

IMAGE = (4, 12, 10)
CONTRACT = InputContract(IMAGE, (0.5,) * 4, (0.25,) * 4)


def randomised(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data.uniform_(-1, 1, generator=generator)
    for layer in module.modules():
        if isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm1d)):
            layer.running_mean.uniform_(-1, 1, generator=generator)
            layer.running_var.uniform_(0.5, 2, generator=generator)
    return module.eval()


class Branches(nn.Module):
    """``join(left(x), right(x))``."""

    def __init__(self, join: nn.Module, left: nn.Module | None = None, right: nn.Module | None = None) -> None:
        super().__init__()
        self.left, self.right, self.join = left or nn.Conv2d(4, 6, 1), right or nn.Conv2d(4, 6, 1), join

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.join(self.left(x), self.right(x))


class Constants(nn.Module):
    """``join`` with a constant on either side."""

    def __init__(self, join: nn.Module, first: bool = False) -> None:
        super().__init__()
        self.join, self.first = join, first
        self.register_buffer("factor", torch.rand(4, 1, 1) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.join(self.factor, x) if self.first else self.join(x, self.factor)


class Parts(nn.Module):
    """A split whose parts are used in another order, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.split, self.join, self.act = own.Split((1, 3), 1), own.Concat(1), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, three = self.split(x)
        return self.join(three, self.act(one), one)


class Positive(nn.Module):
    """``|x| + 1``, for functions that need it."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.abs, self.add, self.function = own.Pointwise("Abs"), own.Add(), function
        self.register_buffer("one", torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.add(self.abs(x), self.one))


class Functions(nn.Module):
    """Functions instead of modules, as people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(4, 6, 3, padding=1), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.conv(x))
        y = torch.cat([y + 1.5, nn.functional.relu6(y) * 2.0], 1)
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(y, 1), 1))


PLAIN: dict[str, nn.Module] = {
    "conv": nn.Conv2d(4, 6, 3),
    "conv padded": nn.Conv2d(4, 6, 3, padding=1, stride=2),
    "conv 5x5": nn.Conv2d(4, 6, 5, padding=2, bias=False),
    "conv 1x3": nn.Conv2d(4, 6, (1, 3), padding=(0, 1)),
    "conv 3x1 strided one way": nn.Conv2d(4, 6, (3, 1), stride=(2, 1), padding=(1, 0)),
    "conv 2x2 same": nn.Conv2d(4, 6, 2, padding="same"),
    "conv valid": nn.Conv2d(4, 6, 3, padding="valid"),
    "conv grouped": nn.Conv2d(4, 6, 3, groups=2),
    "conv depthwise": nn.Conv2d(4, 4, 3, groups=4, padding=1),
    "conv depthwise with multiplier": nn.Conv2d(4, 8, 3, groups=4),
    "conv dilated": nn.Conv2d(4, 6, 3, dilation=2, padding=2),
    "conv padded unevenly": nn.Sequential(nn.ZeroPad2d((0, 1, 2, 1)), nn.Conv2d(4, 6, 3, stride=2)),
    "conv transposed": nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
    "conv transposed, grouped": nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2, bias=False),
    "conv transposed, cropped": nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2), nn.ZeroPad2d((0, -1, -1, 0))),
    "batch norm": nn.BatchNorm2d(4, eps=1e-3, momentum=0.01),
    "batch norm without weights": nn.BatchNorm2d(4, affine=False),
    "batch norm after linear": nn.Sequential(nn.Flatten(), nn.Linear(480, 7), nn.BatchNorm1d(7)),
    "linear": nn.Sequential(nn.Flatten(), nn.Linear(480, 7)),
    "linear without bias": nn.Sequential(nn.Flatten(), nn.Linear(480, 7, bias=False)),
    "linear on the last axis": nn.Linear(10, 5),
    "linear on the last axis without bias": nn.Linear(10, 5, bias=False),
    "relu": nn.ReLU(),
    "clip from zero": nn.Hardtanh(0.0, math.inf),
    "clip both": nn.Hardtanh(-0.4, 0.7),
    "clip to": nn.Hardtanh(-math.inf, 0.3),
    "relu6": nn.ReLU6(),
    "leaky relu": nn.LeakyReLU(0.2),
    "prelu": nn.PReLU(),
    "prelu a channel": nn.PReLU(4),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "hard sigmoid": nn.Hardsigmoid(),
    "hard sigmoid of keras": own.HardSigmoid(0.2, 0.5),
    "hard swish": nn.Hardswish(),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "gelu": nn.GELU(),
    "gelu tanh": nn.GELU("tanh"),
    "elu": nn.ELU(0.7),
    "softplus": nn.Softplus(),
    "softsign": nn.Softsign(),
    "softmax": nn.Softmax(1),
    "log softmax": nn.LogSoftmax(-1),
    "abs": own.Pointwise("Abs"),
    "erf": own.Pointwise("Erf"),
    "exp": own.Pointwise("Exp"),
    "neg": own.Pointwise("Neg"),
    "log": Positive(own.Pointwise("Log")),
    "sqrt": Positive(own.Pointwise("Sqrt")),
    "reciprocal": Positive(own.Pointwise("Reciprocal")),
    "max pool": nn.MaxPool2d(2),
    "max pool 3x3": nn.MaxPool2d(3, 2, 1),
    "max pool dilated": nn.MaxPool2d(2, 1, dilation=2),
    "max pool ceil": nn.MaxPool2d(3, 2, ceil_mode=True),
    "max pool padded unevenly": nn.Sequential(nn.ConstantPad2d((0, 1, 0, 1), -math.inf), nn.MaxPool2d(3, 2)),
    "max pool after zeros": nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2)),
    "average pool": nn.AvgPool2d(2),
    "average pool padded": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "average pool padded, counted": nn.AvgPool2d(3, 2, 1),
    "global average pool": nn.AdaptiveAvgPool2d(1),
    "global max pool": nn.AdaptiveMaxPool2d((1, 1)),
    "adaptive pool that divides": nn.AdaptiveAvgPool2d((3, 2)),
    "adaptive max pool that divides": nn.AdaptiveMaxPool2d((4, 5)),
    "mean": own.Mean((1,), True),
    "mean of the image": own.Mean((2, 3), False),
    "mean of the image, kept": own.Mean((2, 3), True),
    "add": Branches(own.Add()),
    "sub": Branches(own.Sub()),
    "mul": Branches(own.Mul()),
    "div": Branches(own.Div()),
    "matmul": Branches(own.MatMul(), right=own.Transpose((0, 1, 3, 2)), left=nn.ReLU()),
    "add constant": Constants(own.Add()),
    "sub from constant": Constants(own.Sub(), first=True),
    "mul constant": Constants(own.Mul()),
    "div constant": Constants(own.Div()),
    "concat": Branches(own.Concat(1)),
    "concat constant-free along width": Branches(own.Concat(3)),
    "flatten": nn.Flatten(),
    "flatten the image": nn.Flatten(2, 3),
    "reshape": own.Reshape((8, 6, 10)),
    "transpose": own.Transpose((0, 2, 3, 1)),
    "slice": own.Slice(((1, 1, 3, 1), (2, 0, None, 2), (3, 2, 9, 3))),
    "split": Parts(),
    "squeeze": nn.Sequential(nn.AdaptiveAvgPool2d(1), own.Squeeze((2, 3))),
    "unsqueeze": own.Unsqueeze((2, 4)),
    "pad zeros": nn.ZeroPad2d((1, 0, 2, 3)),
    "pad constant": nn.ConstantPad2d((1, 0, 2, 3), 0.7),
    "pad channels": nn.ConstantPad3d((0, 0, 0, 0, 2, 1), 0.0),
    "pad reflect": nn.ReflectionPad2d((1, 2, 3, 0)),
    "pad edge": nn.ReplicationPad2d((1, 2, 3, 0)),
    "crop": nn.ZeroPad2d((-1, 0, 0, -2)),
    "upsample": nn.Upsample(scale_factor=2, mode="nearest"),
    "upsample both ways": nn.Upsample(scale_factor=(2, 3), mode="nearest"),
    "upsample bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "upsample bilinear, corners": nn.Upsample(size=(24, 20), mode="bilinear", align_corners=True),
    "local response": nn.LocalResponseNorm(3, alpha=1e-2, beta=0.5, k=2.0),
    "functions": Functions(),
}


@pytest.mark.parametrize("name", PLAIN)
def test_round_trip(name, run_onnx):
    module = randomised(PLAIN[name])
    network = nn.Sequential()
    network.add_module("layer", module)
    images = torch.randn(3, *IMAGE, generator=torch.Generator().manual_seed(0))
    expected = network(images).detach()

    model = to_onnx(network, CONTRACT)
    onnx.checker.check_model(model, full_check=True)
    assert read_contract(model) == CONTRACT
    np.testing.assert_allclose(run_onnx(model, images.numpy())[0], expected, rtol=1e-4, atol=1e-5)

    lifted = to_torch(model)
    np.testing.assert_allclose(lifted(images).detach(), expected, rtol=1e-4, atol=1e-5)
    again = to_onnx(lifted, CONTRACT)
    np.testing.assert_allclose(run_onnx(again, images.numpy())[0], expected, rtol=1e-4, atol=1e-5)
    assert to_onnx(to_torch(again), CONTRACT).SerializeToString() == again.SerializeToString()


def test_every_operator_and_module_is_in_a_round_trip():
    written, modules = set(), set()
    for module in PLAIN.values():
        network = nn.Sequential(module).eval()
        modules |= {type(layer) for layer in network.modules()}
        written |= {node.op_type for node in to_onnx(network, CONTRACT).graph.node}
    assert set(WRITE) <= modules
    # Of these opset 13 has other forms, or we write another; ONNX's own cases and test_network_read lift them.
    assert set(LIFT) - written == {"HardSwish", "Mish", "Gelu", "Sum"}


def test_names_are_those_of_the_layers_and_weights_follow_them():
    network = nn.Sequential()
    network.add_module("stem", nn.Sequential(nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)))
    network.add_module("act", nn.ReLU())
    model = to_onnx(network.eval(), CONTRACT)
    assert [node.name for node in model.graph.node] == ["stem_0", "stem_1", "act"]
    assert "stem_0.weight" in {tensor.name for tensor in model.graph.initializer}
    assert model.graph.input[0].name == "image"
    assert model.graph.output[0].name == "logits"
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    model.graph.node[2].name = "/stem/class"
    model.graph.node[1].name = "train"
    lifted = to_torch(model)
    assert [name for name, _ in lifted.named_children()] == ["stem_0", "train_layer", "stem_class"]


def test_batch_norm_can_train_further():
    lifted = to_torch(to_onnx(randomised(PLAIN["batch norm"]), CONTRACT)).train()
    norm = next(layer for layer in lifted.modules() if isinstance(layer, nn.BatchNorm2d))
    assert (norm.eps, norm.momentum) == pytest.approx((1e-3, 0.01))
    before = norm.running_mean.clone()
    lifted(torch.randn(2, *IMAGE)).sum().backward()
    assert not torch.equal(norm.running_mean, before)
    assert norm.weight.grad is not None


def test_relu_and_clip_from_zero_stay_apart():
    network = nn.Sequential(nn.ReLU(), nn.Hardtanh(0.0, math.inf), nn.ReLU6())
    lifted = to_torch(to_onnx(network, CONTRACT))
    kinds = [type(layer) for _, layer in lifted.named_children()]
    assert kinds == [nn.ReLU, nn.Hardtanh, nn.ReLU6]
    nodes = to_onnx(lifted, CONTRACT).graph.node
    assert [node.op_type for node in nodes] == ["Relu", "Clip", "Clip"]
    assert [len(node.input) for node in nodes] == [1, 2, 3]


@pytest.mark.parametrize("kind", [nn.SiLU, nn.Hardswish, nn.Mish, nn.GELU])
def test_activations_of_several_nodes_come_back_as_one(kind):
    lifted = to_torch(to_onnx(nn.Sequential(nn.Conv2d(4, 4, 1), kind()), CONTRACT))
    assert [type(layer) for _, layer in lifted.named_children()] == [nn.Conv2d, kind]
    assert not list(lifted.buffers())


def test_a_gate_that_something_else_reads_stays():
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.mul, self.join = nn.Sigmoid(), own.Mul(), own.Concat(1)

        def forward(self, x):
            gate = self.gate(x)
            return self.join(self.mul(x, gate), gate)

    lifted = to_torch(to_onnx(Gate(), CONTRACT))
    assert nn.SiLU not in {type(layer) for layer in lifted.modules()}


def test_uneven_pads_become_the_convolutions_own():
    model = to_onnx(PLAIN["conv padded unevenly"], CONTRACT)
    assert [node.op_type for node in model.graph.node] == ["Conv"]
    lifted = to_torch(model)
    assert [type(layer) for _, layer in lifted.named_children()] == [nn.ZeroPad2d, nn.Conv2d]


def test_a_sum_of_two_weights_of_one_number_and_a_pool_that_sees_all(run_onnx):
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["w"], value=helper.make_tensor("v", float32, [1], [0.5])),
        helper.make_node("Conv", ["x", "w"], ["y"], "conv", kernel_shape=[1, 1]),
        helper.make_node("Sum", ["x", "y"], ["z"], "sum"),
        helper.make_node("AveragePool", ["z"], ["out"], "pool", kernel_shape=[13, 11], pads=[0, 0, 1, 1]),
    ]
    values = [
        helper.make_tensor_value_info(name, float32, [1, *shape]) for name, shape in (("x", IMAGE), ("out", (4, 1, 1)))
    ]
    shape = helper.make_tensor("shape", onnx.TensorProto.INT64, [4], [4, 4, 1, 1])
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    lifted = to_torch(model)
    assert [type(layer) for _, layer in lifted.named_children()] == [nn.Conv2d, own.Add, nn.AdaptiveAvgPool2d]
    images = np.random.default_rng(0).normal(size=(1, *IMAGE)).astype(np.float32)
    wanted = run_onnx(model, images)[0]
    np.testing.assert_allclose(lifted(torch.from_numpy(images)).detach(), wanted, atol=1e-5)


def test_a_layer_used_twice_and_several_outputs(run_onnx):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.drop = nn.Conv2d(4, 4, 3, padding=1), nn.Dropout(0.5)

        def forward(self, x):
            y = self.conv(self.conv(x))
            return y, self.drop(y), x

    network = Twice().eval()
    images = torch.randn(2, *IMAGE)
    model = to_onnx(network, CONTRACT)
    assert [output.name for output in model.graph.output] == ["logits_0", "logits_1", "logits_2"]
    for got, wanted in zip(run_onnx(model, images.numpy()), network(images), strict=True):
        np.testing.assert_allclose(got, wanted.detach(), atol=1e-5)
    lifted = to_torch(model)
    for got, wanted in zip(lifted(images), network(images), strict=True):
        np.testing.assert_allclose(got.detach(), wanted.detach(), atol=1e-5)


def test_a_network_that_is_only_its_input(run_onnx):
    images = np.ones((1, *IMAGE), np.float32)
    model = to_onnx(nn.Sequential(nn.Identity()), CONTRACT)
    np.testing.assert_array_equal(run_onnx(model, images)[0], images)
    assert torch.equal(to_torch(model)(torch.from_numpy(images)), torch.from_numpy(images))


def test_writing_does_not_change_the_network():
    network = fx.symbolic_trace(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = to_onnx(network, CONTRACT)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert to_onnx(network, CONTRACT).SerializeToString() == first.SerializeToString()


def test_a_module_without_a_form_is_named():
    with pytest.raises(NetworkError, match="CELU") as caught:
        to_onnx(nn.Sequential(nn.Conv2d(4, 4, 1), nn.CELU()), CONTRACT)
    assert caught.value.where == "1"


def test_a_function_without_a_form_is_named():
    class Odd(nn.Module):
        def forward(self, x):
            return operator.floordiv(x, 2)

    with pytest.raises(NetworkError, match="floordiv"):
        to_onnx(Odd(), CONTRACT)


def test_an_image_that_does_not_fit_names_the_layer():
    with pytest.raises(NetworkError, match="4 × 12 × 10") as caught:
        to_onnx(nn.Sequential(nn.Flatten(), nn.Linear(7, 2)), CONTRACT)
    assert caught.value.where == "1"


def test_all_unknown_operators_are_named_with_their_layers():
    image = onnx.helper.make_tensor_value_info("x", 1, ["N", *IMAGE])
    nodes = [
        onnx.helper.make_node("CumSum", ["x", "axis"], ["y"], name="running"),
        onnx.helper.make_node("Det", ["y"], ["z"], name="volume"),
    ]
    axis = onnx.numpy_helper.from_array(np.asarray(1), "axis")
    graph = onnx.helper.make_graph(nodes, "g", [image], [onnx.helper.make_tensor_value_info("z", 1, None)], [axis])
    with pytest.raises(NetworkError, match=r"CumSum \(layer running\); Det \(layer volume\)"):
        to_torch(onnx.helper.make_model(graph), where="a.onnx")
