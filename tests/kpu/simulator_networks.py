"""Networks for the simulator's tests, as ONNX, and nncase's own answers to them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PYTHON = Path(__file__).parents[2] / ".venv-nncase/bin/python"
SIDES = (8, 12, 15, 16, 17, 20, 31, 32, 33, 40, 63, 64, 65, 96, 130)
"""Widths across the borders of the KPU's row layouts: 16, 32, 64, 128."""
ACTIVATIONS = ("relu", "relu6", "leaky", "none", "sigmoid", "silu", "hardswish", "tanh")

WORKER = """
import json, sys, numpy, nncase
for job in json.load(sys.stdin):
    options = nncase.CompileOptions()
    options.target, options.preprocess, options.input_type, options.output_type = "k210", True, "uint8", job["output"]
    options.input_shape, options.input_range = [1, *job["image"]], [0.0, 1.0]
    options.mean, options.std = [0.0] * job["image"][0], [1.0] * job["image"][0]
    options.input_layout = options.output_layout = "NCHW"
    compiler = nncase.Compiler(options)
    compiler.import_onnx(open(job["onnx"], "rb").read(), nncase.ImportOptions())
    images = numpy.load(job["images"])
    calibration = nncase.PTQTensorOptions()
    calibration.set_tensor_data(images.tobytes())
    calibration.samples_count, calibration.calibrate_method = len(images), "no_clip"
    compiler.use_ptq(calibration)
    compiler.compile()
    kmodel = compiler.gencode_tobytes()
    open(job["kmodel"], "wb").write(kmodel)
    simulator = nncase.Simulator()
    simulator.load_model(kmodel)
    answers = []
    for image in images:
        tensor = nncase.RuntimeTensor.from_numpy(numpy.ascontiguousarray(image[None]))
        simulator.set_input_tensor(0, tensor)
        simulator.run()
        answers.append(simulator.get_output_tensor(0).to_numpy().copy())
    numpy.save(job["answers"], numpy.concatenate(answers))
"""


class Network:
    """A chain of layers; ``tensor`` and ``shape`` may be set to branch off an earlier point."""

    def __init__(self, image: tuple[int, int, int], seed: int) -> None:
        self.image, self.shape, self.tensor = image, image, "image"
        self.random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def constant(self, values: object, dtype: type = np.float32) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: object) -> Network:
        name = f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        self.tensor = name
        return self

    def conv(self, out: int, kernel: int, stride: int = 1, act: str = "relu", groups: int = 1) -> Network:
        depth = self.shape[0] // groups
        weights = self.random.normal(0, (2 / (depth * kernel**2)) ** 0.5, (out, depth, kernel, kernel))
        weights *= self.random.uniform(0.3, 1.5, (out, 1, 1, 1))
        inputs = (self.tensor, self.constant(weights), self.constant(self.random.normal(0, 0.2, out)))
        pads = [kernel // 2] * 4
        self.node("Conv", *inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, group=groups)
        self.shape = (out, *((side - 1) // stride + 1 for side in self.shape[1:]))
        return self.activate(act)

    def activate(self, act: str) -> Network:
        x = self.tensor
        match act:
            case "relu":
                self.node("Clip", x, self.constant(0))
            case "relu6":
                self.node("Clip", x, self.constant(0), self.constant(6))
            case "leaky":
                self.node("LeakyRelu", x, alpha=0.1)
            case "sigmoid":
                self.node("Sigmoid", x)
            case "tanh":
                self.node("Tanh", x)
            case "silu":
                self.node("Mul", x, self.node("Sigmoid", x).tensor)
            case "hardswish":
                self.node("Mul", x, self.node("HardSigmoid", x, alpha=1 / 6, beta=0.5).tensor)
        return self

    def depthwise(self, stride: int = 1, act: str = "relu") -> Network:
        return self.conv(self.shape[0], 3, stride, act, groups=self.shape[0])

    def pool(self, op: str, size: int, stride: int, pad: int = 0) -> Network:
        self.node(op, self.tensor, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[pad] * 4)
        self.shape = (self.shape[0], *((side + 2 * pad - size) // stride + 1 for side in self.shape[1:]))
        return self

    def model(self) -> bytes:
        given = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, *self.image])
        result = helper.make_tensor_value_info(self.tensor, TensorProto.FLOAT, [1, *self.shape])
        graph = helper.make_graph(self._nodes, "network", [given], [result], self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        return onnx.shape_inference.infer_shapes(model).SerializeToString()


def random_network(seed: int) -> Network:
    """All on the KPU: 1×1, 3×3, depthwise, stride 2, pools, activations, any width, up to 1024 channels."""
    random = np.random.default_rng(seed)
    width, height = int(SIDES[seed % len(SIDES)]), int(random.choice(SIDES[:10]))
    network = Network((int(random.choice([1, 3])), height, width), seed)
    widest = 1024 if seed % 5 == 0 else 96
    network.conv(int(random.integers(4, 40)), 3, act=_activation(random))
    if seed % 10 == 0:
        network.pool("MaxPool", 2, 2).conv(1024, 1, act="relu6")
    for _ in range(int(random.integers(2, 6))):
        sides = network.shape[1:]
        halves = all(side % 2 == 0 and side >= 8 for side in sides)
        act = _activation(random)
        kind = random.choice(["3x3", "1x1", "depthwise", "stride", "depthwise stride", "pool", "pool 4"])
        out = int(random.integers(4, widest + 1 if min(sides) * max(sides) < 300 else 64))
        if kind == "depthwise":
            network.depthwise(act=act)
        elif kind == "stride" and halves:
            network.conv(out, int(random.choice([1, 3])), 2 if network.shape[0] < 256 else 1, act=act)
        elif kind == "depthwise stride" and halves:
            network.depthwise(2, "relu6").conv(out, 1, act=act)
        elif kind == "pool" and min(sides) >= 8:
            network.conv(min(out, 256), 3, act=act).pool(str(random.choice(["MaxPool", "AveragePool"])), 2, 2)
        elif kind == "pool 4" and min(sides) >= 16:
            network.conv(min(out, 64), 1, act=act).pool(str(random.choice(["MaxPool", "AveragePool"])), 4, 4)
        else:
            network.conv(out, 1 if kind == "1x1" or network.shape[0] > 256 else 3, act=act)
    # nncase finds no range for a uint8 output that ends in SiLU or hard swish.
    return network.conv(int(random.integers(3, 70)), 1, act=str(random.choice(["relu", "leaky", "none", "sigmoid"])))


def _activation(random: np.random.Generator) -> str:
    return str(random.choice(ACTIVATIONS, p=[0.25, 0.2, 0.15, 0.1, 0.075, 0.075, 0.075, 0.075]))


def network_with(operator: str) -> Network:
    """A small network with one operator, or one kind of head, that the CPU runs."""
    network = Network((3, 16, 24), 7).conv(8, 3)
    first, shape = network.tensor, network.shape
    match operator:
        case "add":
            network.conv(8, 3)
            network.node("Add", network.tensor, first)
        case "concat":
            network.conv(6, 1)
            network.node("Concat", network.tensor, first, axis=1)
            network.shape = (14, *shape[1:])
            network.conv(5, 1)
        case "resize nearest" | "resize linear" | "resize linear half":
            scales = network.constant([1, 1, 2, 2])
            half = "half_pixel" if operator.endswith("half") else "asymmetric"
            attributes = {"mode": operator.split()[1], "coordinate_transformation_mode": half}
            if operator == "resize nearest":
                attributes["nearest_mode"] = "floor"
            network.node("Resize", first, "", scales, **attributes)
            network.shape = (8, 32, 48)
            network.conv(4, 3)
        case "max-pool 3x3":
            network.pool("MaxPool", 3, 2, 1).conv(6, 1)
        case "5x5":
            network.conv(6, 5).conv(5, 3)
        case "stride 2, odd":
            return Network((3, 17, 23), 7).conv(6, 3, 2).conv(7, 3)
        case "tanh":
            network.node("Tanh", network.conv(8, 3).node("Add", network.tensor, first).tensor).conv(4, 1)
        case "matmul":
            network.node("Flatten", network.tensor)
            weights = network.random.normal(0, 0.05, (5, 8 * 16 * 24))
            network.node("Gemm", network.tensor, network.constant(weights), network.constant([0.5] * 5), transB=1)
            network.shape = (5,)
        case "classifier":
            network.node("GlobalAveragePool", network.tensor).node("Flatten", network.tensor)
            weights, bias = network.random.normal(0, 0.4, (10, 8)), network.random.normal(0, 0.1, 10)
            network.node("Gemm", network.tensor, network.constant(weights), network.constant(bias), transB=1)
            network.shape = (10,)
        case "softmax":
            network.node("GlobalAveragePool", network.tensor).node("Flatten", network.tensor)
            weights = network.random.normal(0, 2, (10, 8))
            network.node("Gemm", network.tensor, network.constant(weights), network.constant([0] * 10), transB=1)
            network.node("Softmax", network.tensor, axis=1)
            network.shape = (10,)
        case "transpose":
            network.node("Transpose", network.tensor, perm=[0, 2, 3, 1])
            network.shape = (*shape[1:], shape[0])
    return network


OPERATORS = (
    "add", "concat", "resize nearest", "resize linear", "resize linear half", "max-pool 3x3", "5x5", "stride 2, odd",
    "tanh", "matmul", "classifier", "softmax", "transpose",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What nncase made of a network, and of its images."""

    kmodel: bytes
    images: np.ndarray
    outputs: np.ndarray


def ask_nncase(networks: Iterable[Network], folder: Path, output: str, images: int = 2) -> list[Answer]:
    """Compile each and run nncase's Simulator on random images, all in one process of nncase's environment."""
    jobs = []
    for index, network in enumerate(networks):
        job = {name: str(folder / f"{index}.{name}") for name in ("onnx", "kmodel")}
        job |= {name: str(folder / f"{index}.{name}.npy") for name in ("images", "answers")}
        Path(job["onnx"]).write_bytes(network.model())
        np.save(job["images"], np.random.default_rng(index).integers(0, 256, (images, *network.image), np.uint8))
        jobs.append(job | {"image": network.image, "output": output})
    folder = Path(jobs[0]["kmodel"]).parent  # nncase writes a kmodel_info.txt where it stands
    done = subprocess.run(
        [PYTHON, "-c", WORKER], input=json.dumps(jobs), text=True, capture_output=True, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [Answer(Path(job["kmodel"]).read_bytes(), np.load(job["images"]), np.load(job["answers"])) for job in jobs]
