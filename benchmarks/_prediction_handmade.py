"""Networks written layer by layer: what the zoo has not, what does not fit the KPU, and what only nearly does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import onnx

from benchmarks._prediction_graph import Graph


def _mobilenet_v1(width: float, side: int, classes: int, act: str = "clip") -> onnx.ModelProto:
    """MobileNetV1 as ``_simulator_networks`` has it, but for its classes and its activation."""
    g = Graph(3, side, side)
    x = g.conv(g.image, int(32 * width), 3, 2, act)
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for out, stride in blocks:
        x = g.conv(g.depthwise(x, stride, act), int(out * width), 1, act=act)
    return g.model(g.softmax(g.head(x, classes)))


def _vgg(channels: tuple[int, ...], height: int, width: int, classes: int = 10) -> onnx.ModelProto:
    """Two 3×3 convolutions and a max-pool a stage."""
    g = Graph(3, height, width)
    x = g.image
    for out in channels:
        x = g.pool(g.conv(g.conv(x, out), out))
    return g.model(g.head(x, classes))


def _chain(image: tuple[int, int, int], *layers: tuple[int, int, int], act: str = "clip") -> onnx.ModelProto:
    """Convolutions one behind the other: channels, kernel, stride."""
    g = Graph(*image)
    x = g.image
    for out, kernel, stride in layers:
        x = g.conv(x, out, kernel, stride, act)
    return g.model(x)


def _unet(base: int, side: int, *, up: str = "resize") -> onnx.ModelProto:
    """Three levels, concatenated skip connections."""
    g = Graph(3, side, side)
    one = g.conv(g.conv(g.image, base), base)
    two = g.conv(g.conv(g.pool(one), 2 * base), 2 * base)
    deep = g.conv(g.conv(g.pool(two), 4 * base), 4 * base)

    def higher(x: str, out: int) -> str:
        return g.conv(g.upsample(x), out) if up == "resize" else g.transposed(x, out)

    x = g.concat(higher(deep, 2 * base), two)
    x = g.concat(higher(g.conv(x, 2 * base), base), one)
    return g.model(g.conv(g.conv(x, base), 2, 1, act=None))


def _tiny_yolo(width: float, height: int, side: int) -> onnx.ModelProto:
    """Tiny YOLO v2: LeakyReLU, max-pools, the last one of stride 1 left out."""
    g = Graph(3, height, side)
    x = g.image
    for out in (16, 32, 64, 128, 256):
        x = g.pool(g.conv(x, int(out * width), act="leaky"))
    x = g.conv(g.conv(x, int(512 * width), act="leaky"), int(512 * width), act="leaky")
    return g.model(g.conv(x, 30, 1, act=None))


def _yolo_v3(base: int, side: int) -> onnx.ModelProto:
    """Two scales, the second from an upsampled and concatenated map."""
    g = Graph(3, side, side)
    x = g.conv(g.image, base, act="leaky")
    for out in (2 * base, 4 * base):
        x = g.conv(g.pool(x), out, act="leaky")
    fine = g.conv(g.pool(x), 8 * base, act="leaky")
    coarse = g.conv(g.conv(g.pool(fine), 16 * base, act="leaky"), 8 * base, 1, act="leaky")
    first = g.conv(g.conv(coarse, 16 * base, act="leaky"), 18, 1, act=None)
    merged = g.concat(g.upsample(g.conv(coarse, 4 * base, 1, act="leaky")), fine)
    second = g.conv(g.conv(merged, 8 * base, act="leaky"), 18, 1, act=None)
    return g.model(first, second)


def _ssd(width: float, side: int, *, flat: bool) -> onnx.ModelProto:
    """A MobileNet backbone with boxes and scores at three scales; ``flat``: as two lists, as SSD exports them."""
    g = Graph(3, side, side)
    x = g.conv(g.image, int(32 * width), 3, 2)
    maps = []
    for out, stride in [(64, 1), (128, 2), (256, 2), (256, 1), (512, 2), (512, 1), (512, 2)]:
        x = g.separable(x, int(out * width), stride)
        maps.append(x)
    boxes, scores = [], []
    for feature in (maps[3], maps[5], maps[6]):
        boxes.append(g.conv(feature, 3 * 4, act=None))
        scores.append(g.conv(feature, 3 * 2, act=None))
    if not flat:
        return g.model(*boxes, *scores)

    def as_list(tensors: list[str], numbers: int) -> str:
        lists = []
        for tensor in tensors:
            height, wide = g.shapes[tensor][2:]
            lists.append(g.reshape(g.permute(tensor, (0, 2, 3, 1)), (1, 3 * height * wide, numbers)))
        return g.concat(*lists)

    return g.model(as_list(boxes, 4), g.softmax(as_list(scores, 2)))


def _densenet(growth: int, layers: int, side: int) -> onnx.ModelProto:
    """Three dense blocks with 1×1 transitions; activations behind the convolutions, as the KPU has them."""
    g = Graph(3, side, side)
    x = g.conv(g.image, 2 * growth, 3, 2)
    for block in range(3):
        for _ in range(layers):
            x = g.concat(x, g.conv(g.conv(x, 4 * growth, 1), growth))
        if block < 2:
            x = g.pool(g.conv(x, g.channels(x) // 2, 1), op="AveragePool")
    return g.model(g.head(g.conv(x, g.channels(x), 1), 10))


def _inception(base: int, side: int, *, five: bool, act: str = "clip") -> onnx.ModelProto:
    """Two Inception modules; ``five``: with 5×5 kernels, else with two 3×3."""
    g = Graph(3, side, side)
    x = g.conv(g.conv(g.image, base, 3, 2, act), 2 * base, act=act)
    for _ in range(2):
        third = g.conv(x, base // 2, 1, act=act)
        third = g.conv(third, base, 5, act=act) if five else g.conv(g.conv(third, base, act=act), base, act=act)
        x = g.concat(
            g.conv(x, base, 1, act=act),
            g.conv(g.conv(x, base, 1, act=act), 2 * base, act=act),
            third,
            g.conv(g.pool(x, 3, 1, pad=1), base, 1, act=act),
        )
    return g.model(g.head(x, 10))


def _shufflenet_v1(base: int, side: int) -> onnx.ModelProto:
    """Grouped 1×1 convolutions, channel shuffles, residual sums."""
    g = Graph(3, side, side)
    x = g.conv(g.image, base, 3, 2)
    for _ in range(3):
        y = g.shuffle(g.conv(x, base, 1, groups=2), 2)
        x = g.add(x, g.conv(g.depthwise(y, act=None), base, 1, act=None, groups=2), "relu")
    return g.model(g.head(x, 10))


def _shufflenet_v2(base: int, side: int) -> onnx.ModelProto:
    """Halves of the channels, one worked on, both concatenated and shuffled."""
    g = Graph(3, side, side)
    x = g.conv(g.image, base, 3, 2)
    left = g.conv(g.depthwise(x, 2, None), base, 1)
    right = g.conv(g.depthwise(g.conv(x, base, 1), 2, None), base, 1)
    x = g.shuffle(g.concat(left, right), 2)
    for _ in range(2):
        kept, worked = g.part(x, 0, base), g.part(x, base, 2 * base)
        worked = g.conv(g.depthwise(g.conv(worked, base, 1), 1, None), base, 1)
        x = g.shuffle(g.concat(kept, worked), 2)
    return g.model(g.head(x, 10))


def _squeezenet(base: int, side: int, act: str = "clip") -> onnx.ModelProto:
    """Fire modules, 3×3 max-pools of stride 2, and a convolution as the classifier."""
    g = Graph(3, side, side)
    x = g.pool(g.conv(g.image, 4 * base, 3, 2, act), 3, 2)
    for index, size in enumerate((base, base, 2 * base, 2 * base)):
        squeezed = g.conv(x, size, 1, act=act)
        x = g.concat(g.conv(squeezed, 4 * size, 1, act=act), g.conv(squeezed, 4 * size, 3, act=act))
        x = g.pool(x, 3, 2) if index == 1 else x
    return g.model(g.softmax(g.reshape(g.mean(g.conv(x, 10, 1, act=act)), (1, 10))))


def _resnet_bottleneck(base: int, side: int, stem: int, act: str) -> onnx.ModelProto:
    """ResNet's bottleneck blocks behind a stem of kernel ``stem`` and a 3×3 max-pool."""
    g = Graph(3, side, side)
    x = g.pool(g.conv(g.image, base, stem, 2, act), 3, 2, pad=1)
    for out, stride in ((base, 1), (base, 1), (2 * base, 2), (2 * base, 1)):
        y = g.conv(g.conv(g.conv(x, out, 1, act=act), out, 3, stride, act), 4 * out, 1, act=None)
        skip = x if stride == 1 and g.channels(x) == 4 * out else g.conv(x, 4 * out, 1, stride, None)
        x = g.add(y, skip, "relu")
    return g.model(g.head(x, 10))


def _efficientnet_like(base: int, side: int) -> onnx.ModelProto:
    """Inverted residuals with SiLU and squeeze-and-excitation."""
    g = Graph(3, side, side)
    x = g.conv(g.image, base, 3, 2, "silu")
    for stride in (1, 2):
        inside = g.depthwise(g.conv(x, 4 * base, 1, act="silu"), stride, "silu")
        gate = g.conv(g.conv(g.mean(inside), base, 1, act="silu"), 4 * base, 1, act="sigmoid")
        y = g.conv(g.scale(inside, gate), base, 1, act=None)
        x = g.add(x, y) if stride == 1 else y
    return g.model(g.head(g.conv(x, 8 * base, 1, act="silu"), 10))


def _lenet(side: int) -> onnx.ModelProto:
    """5×5 kernels, average pools, three fully connected layers."""
    g = Graph(1, side, side)
    x = g.pool(g.conv(g.image, 6, 5, act="tanh"), op="AveragePool")
    x = g.pool(g.conv(x, 16, 5, act="tanh", pads=(0, 0, 0, 0)), op="AveragePool")
    return g.model(g.dense(g.dense(g.dense(x, 120, "tanh"), 84, "tanh"), 10))


def _alexnet(base: int, side: int) -> onnx.ModelProto:
    """An 11×11 stem of stride 4, 3×3 max-pools, fully connected layers wider than the KPU takes."""
    g = Graph(3, side, side)
    x = g.pool(g.conv(g.image, base, 11, 4), 3, 2)
    x = g.pool(g.conv(x, 2 * base, 5), 3, 2)
    x = g.conv(g.conv(x, 3 * base), 2 * base)
    return g.model(g.dense(g.dense(x, 256, "relu"), 10))


def _stride_on_odd(side: int) -> onnx.ModelProto:
    """Halvings of an odd image, and TensorFlow's "SAME" padding."""
    g = Graph(3, side, side)
    x = g.conv(g.image, 16, 3, 2, pads=(0, 0, 1, 1))
    x = g.conv(g.separable(x, 32, 2), 48, 3, 2)
    return g.model(g.head(x, 10))


def _asymmetric(side: int) -> onnx.ModelProto:
    """1×3 and 3×1 kernels, a dilated and a grouped convolution."""
    g = Graph(3, side, side)
    x = g.conv(g.image, 16, 3, 2)
    x = g.conv(g.conv(x, 24, (1, 3)), 24, (3, 1))
    x = g.conv(g.conv(x, 32, dilation=2), 32, groups=4)
    return g.model(g.head(x, 10))


def _global_regression(side: int) -> onnx.ModelProto:
    """Two outputs of one backbone: classes and a box."""
    g = Graph(3, side, side)
    x = g.separable(g.separable(g.conv(g.image, 16, 3, 2), 32, 2), 64, 2)
    pooled = g.mean(x)
    return g.model(g.softmax(g.dense(pooled, 5)), g.dense(g.dense(pooled, 32, "relu"), 4, "sigmoid"))


def _residual_chain(channels: int, blocks: int, side: int, act: str) -> onnx.ModelProto:
    """Residual blocks of one size, their sums activated."""
    g = Graph(3, side, side)
    x = g.conv(g.image, channels, act=act)
    for _ in range(blocks):
        x = g.add(g.conv(g.conv(x, channels, act=act), channels, act=None), x, "relu")
    return g.model(g.head(x, 10))


def _long_skip(channels: int, side: int) -> onnx.ModelProto:
    """A map that waits for a distant reader while others come and go."""
    g = Graph(3, side, side)
    early = g.conv(g.image, channels)
    x = early
    for out in (2 * channels, channels, 2 * channels):
        x = g.conv(x, out)
    return g.model(g.conv(g.concat(x, early), channels, 1))


def _fanned_out(channels: int, side: int) -> onnx.ModelProto:
    """A map with four readers on the KPU, each an output."""
    g = Graph(3, side, side)
    x = g.conv(g.image, channels)
    return g.model(*(g.conv(x, channels // 2 + index, 3 if index % 2 else 1) for index in range(4)))


HANDMADE: Final[dict[str, Callable[[], onnx.ModelProto]]] = {
    "lenet-28": lambda: _lenet(28),
    "vgg-16-32-64-at-64": lambda: _vgg((16, 32, 64), 64, 64),
    "vgg-8-16-32-at-120x160": lambda: _vgg((8, 16, 32), 120, 160),
    "tiny-yolo-x0.5-at-224x320": lambda: _tiny_yolo(0.5, 224, 320),
    "tiny-yolo-x0.25-at-224": lambda: _tiny_yolo(0.25, 224, 224),
    "yolo3-two-scales-at-96": lambda: _yolo_v3(8, 96),
    "yolo3-two-scales-at-224": lambda: _yolo_v3(8, 224),
    "ssd-x0.25-maps-at-160": lambda: _ssd(0.25, 160, flat=False),
    "ssd-x0.25-lists-at-160": lambda: _ssd(0.25, 160, flat=True),
    "unet-8-at-64": lambda: _unet(8, 64),
    "unet-12-at-96": lambda: _unet(12, 96),
    "unet-8-transposed-at-64": lambda: _unet(8, 64, up="transposed"),
    "densenet-8x3-at-64": lambda: _densenet(8, 3, 64),
    "densenet-12x4-at-96": lambda: _densenet(12, 4, 96),
    "inception-16-at-64": lambda: _inception(16, 64, five=True),
    "inception-24-3x3-at-96": lambda: _inception(24, 96, five=False),
    "inception-16-relu-at-64": lambda: _inception(16, 64, five=True, act="relu"),
    "shufflenet1-24-at-64": lambda: _shufflenet_v1(24, 64),
    "shufflenet2-24-at-64": lambda: _shufflenet_v2(24, 64),
    "squeezenet-8-at-96": lambda: _squeezenet(8, 96),
    "squeezenet-16-relu-at-128": lambda: _squeezenet(16, 128, "relu"),
    "bottlenecks-16-at-96": lambda: _resnet_bottleneck(16, 96, 3, "clip"),
    "bottlenecks-32-7x7-relu-at-128": lambda: _resnet_bottleneck(32, 128, 7, "relu"),
    "efficientnet-16-at-64": lambda: _efficientnet_like(16, 64),
    "alexnet-16-at-96": lambda: _alexnet(16, 95),
    "strides-on-odd-at-97": lambda: _stride_on_odd(97),
    "strides-on-even-at-96": lambda: _stride_on_odd(96),
    "asymmetric-kernels-at-64": lambda: _asymmetric(64),
    "two-heads-at-96": lambda: _global_regression(96),
    "residuals-16x3-clip-at-48": lambda: _residual_chain(16, 3, 48, "clip"),
    "residuals-32x4-leaky-at-32": lambda: _residual_chain(32, 4, 32, "leaky"),
    "residuals-24x2-relu-at-56": lambda: _residual_chain(24, 2, 56, "relu"),
    "long-skip-16-at-64": lambda: _long_skip(16, 64),
    "fanned-out-16-at-64": lambda: _fanned_out(16, 64),
    "mobilenet1-x0.5-relu-at-224": lambda: _mobilenet_v1(0.5, 224, 10, "relu"),
    "mobilenet1-x0.25-relu-at-96": lambda: _mobilenet_v1(0.25, 96, 10, "relu"),
    "mobilenet1-x0.75-1000-classes-at-224": lambda: _mobilenet_v1(0.75, 224, 1000),
    "mobilenet1-x1.0-1000-classes-at-192": lambda: _mobilenet_v1(1.0, 192, 1000),
    # At the edge of the KPU's 2 MiB, and over it.
    "ssd-x0.75-lists-at-300": lambda: _ssd(0.75, 300, flat=True),
    "ssd-x1.0-maps-at-224": lambda: _ssd(1.0, 224, flat=False),
    "ssd-x1.0-maps-at-240": lambda: _ssd(1.0, 240, flat=False),
    "yolo3-16-two-scales-at-256": lambda: _yolo_v3(16, 256),
    "yolo3-12-two-scales-at-320": lambda: _yolo_v3(12, 320),
    "tiny-yolo-x0.75-at-240x320": lambda: _tiny_yolo(0.75, 240, 320),
    "tiny-yolo-x1.0-at-224": lambda: _tiny_yolo(1.0, 224, 224),
    "unet-24-at-160": lambda: _unet(24, 160),
    "unet-16-at-224": lambda: _unet(16, 224),
    "unet-20-at-128": lambda: _unet(20, 128),
    "densenet-24x4-at-160": lambda: _densenet(24, 4, 160),
    "densenet-16x4-at-224": lambda: _densenet(16, 4, 224),
    "inception-32-at-128": lambda: _inception(32, 128, five=False),
    "inception-32-5x5-at-224": lambda: _inception(32, 224, five=True),
    "inception-48-at-160": lambda: _inception(48, 160, five=False),
    "shufflenet2-48-at-192": lambda: _shufflenet_v2(48, 192),
    "squeezenet-16-at-224": lambda: _squeezenet(16, 224),
    "bottlenecks-32-at-224": lambda: _resnet_bottleneck(32, 224, 3, "clip"),
    "bottlenecks-64-7x7-at-224": lambda: _resnet_bottleneck(64, 224, 7, "clip"),
    "efficientnet-24-at-160": lambda: _efficientnet_like(24, 160),
    "efficientnet-32-at-224": lambda: _efficientnet_like(32, 224),
    "residuals-40x2-clip-at-96": lambda: _residual_chain(40, 2, 96, "clip"),
    "residuals-56x2-clip-at-96": lambda: _residual_chain(56, 2, 96, "clip"),
    "residuals-64x2-relu-at-64": lambda: _residual_chain(64, 2, 64, "relu"),
    "long-skip-44-at-96": lambda: _long_skip(44, 96),
    "fanned-out-96-at-96": lambda: _fanned_out(96, 96),
    "mobilenet1-x1.0-at-240": lambda: _mobilenet_v1(1.0, 240, 10),
    "mobilenet1-x1.25-at-192": lambda: _mobilenet_v1(1.25, 192, 10),
    "mobilenet1-x1.25-at-224": lambda: _mobilenet_v1(1.25, 224, 10),
    "vgg-24-48-at-160": lambda: _vgg((24, 48, 96), 160, 160),
    "vgg-20-40-at-192": lambda: _vgg((20, 40), 192, 192),
    "one-layer-15-at-240x320": lambda: _chain((3, 240, 320), (15, 3, 1)),
    "two-layers-8-at-240x320": lambda: _chain((3, 240, 320), (8, 3, 1), (8, 3, 2)),
    "two-layers-16-at-240x320": lambda: _chain((3, 240, 320), (16, 3, 1), (8, 3, 2)),
    "stem-16-stride-2-at-240x320": lambda: _chain((3, 240, 320), (16, 3, 2), (24, 3, 2), (32, 3, 2)),
    "just-2-MiB-at-128": lambda: _chain((3, 128, 128), (64, 1, 1), (64, 1, 1), (8, 1, 2)),
    "just-over-2-MiB-at-128": lambda: _chain((3, 128, 128), (64, 1, 1), (65, 1, 1), (8, 1, 2)),
    "all-of-2-MiB-at-128": lambda: _chain((64, 128, 128), (64, 3, 1), (64, 1, 1)),
    "one-line-over-2-MiB-at-128": lambda: _chain((64, 128, 128), (65, 3, 1), (8, 1, 1)),
    "fragments-1.0-0.5-1.3-MiB": lambda: _chain((3, 128, 128), (64, 1, 1), (32, 1, 1), (83, 1, 1), (8, 1, 2)),
    "fragments-0.5-1.0-0.5-1.3-MiB": lambda: _chain((3, 128, 128), (32, 3, 1), (64, 1, 1), (32, 3, 1), (83, 1, 1)),
    "fragments-1.0-0.5-1.0-MiB": lambda: _chain((3, 128, 128), (64, 1, 1), (32, 1, 1), (64, 1, 1), (8, 1, 2)),
    "mobilenet1-x1.5-at-224": lambda: _mobilenet_v1(1.5, 224, 10),
    "vgg-64-128-at-224": lambda: _vgg((64, 128, 256), 224, 224),
    "vgg-16-32-64-at-224": lambda: _vgg((16, 32, 64), 224, 224),
    "vgg-8-16-32-at-224": lambda: _vgg((8, 16, 32), 224, 224),
    "tiny-yolo-x1.0-at-416": lambda: _tiny_yolo(1.0, 416, 416),
    "unet-32-at-128": lambda: _unet(32, 128),
    "fanned-out-48-at-128": lambda: _fanned_out(48, 128),
    "long-skip-32-at-128": lambda: _long_skip(32, 128),
}
