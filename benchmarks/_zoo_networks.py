"""The architectures of the benchmark zoo: small, and between them with everything that the KPU cannot run.

All take 32×32 images. Each is as cheap as its purpose allows: one to three million multiplications an image, so that
one core trains it to convergence in minutes (`wide`, whose point is one very large layer, excepted).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from benchmarks._zoo_blocks import Branches, Residual, SkipOver, SqueezeExcite, conv, depthwise, head, shuffle

CLASSES = 10


@dataclass(frozen=True)
class Architecture:
    """A network of the zoo.

    Attributes:
        build: makes it, untrained.
        data: the data set that it learns.
        covers: what the KPU cannot run of it, in the words of the table of replacements.
    """

    build: Callable[[], nn.Module]
    data: str
    covers: tuple[str, ...]


def large_kernels() -> nn.Module:
    """AlexNet's way: an 11×11 stem of stride 4, ever larger kernels, a large fully connected layer."""
    return nn.Sequential(
        conv(1, 24, 11, 4),
        conv(24, 16, 5),
        nn.MaxPool2d(3, 1, 1),
        conv(16, 16, 7),
        conv(16, 8, 9),
        conv(8, 72, 4, 2, 1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(72 * 4 * 4, CLASSES),
    )


def paddings() -> nn.Module:
    """Every padding but the KPU's, kernels smaller than 3×3, strides that differ, BatchNorm in unusual places."""
    return nn.Sequential(
        nn.BatchNorm2d(1),
        nn.ZeroPad2d((0, 1, 0, 1)),
        conv(1, 8, 3, 2, 0),
        conv(8, 16, 3, 1, 0, act=nn.ReLU6),
        nn.ZeroPad2d((0, 1, 0, 1)),
        conv(16, 16, 2, 1, 0),
        conv(16, 24, 3, (2, 1)),
        conv(24, 32, 3, (1, 2), act=nn.ReLU6),
        nn.BatchNorm2d(32),
        nn.ZeroPad2d((2, 0, 0, 2)),
        conv(32, 32, 3, 1, 0),
        conv(32, 32, (1, 3)),
        conv(32, 48, (3, 1)),
        nn.ZeroPad2d((1, 0, 0, 0)),
        conv(48, 64, (1, 2), 1, 0),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(64, CLASSES),
    )


def dilated() -> nn.Module:
    """Dilated 3×3, a stride of 3, PReLU."""

    def prelu(channels: int) -> Callable[[], nn.Module]:
        return lambda: nn.PReLU(channels)

    return nn.Sequential(
        conv(1, 8, 3, 2, act=prelu(8)),
        conv(8, 16, 3, dilation=2, act=nn.PReLU),
        conv(16, 32, 3, 3, 1, act=prelu(32)),
        conv(32, 48, 3, dilation=2, act=prelu(48)),
        conv(48, 48, 3, dilation=4, act=nn.PReLU),
        head(48, CLASSES),
    )


def mobile() -> nn.Module:
    """MobileNet's way with ReLU6: a depthwise multiplier, depthwise stride 2, a map of over 1024 channels."""
    act = nn.ReLU6
    return nn.Sequential(
        conv(1, 8, 3, 2, act=act),
        depthwise(8, 3, times=2, act=act),
        depthwise(16, 3, 2, act=act),
        conv(16, 40, 1, act=act),
        depthwise(40, 3, act=act),
        conv(40, 48, 1, act=act),
        depthwise(48, 3, 2, act=act),
        conv(48, 32, 3, act=act),
        nn.Conv2d(32, 1088, 1),
        nn.ReLU6(),
        conv(1088, 24, 1, act=act),
        head(24, CLASSES),
    )


def mobile_large() -> nn.Module:
    """MobileNetV3's way: depthwise 5×5, 7×7 and 9×9, hard-swish, squeeze-and-excitation."""
    act = nn.Hardswish
    return nn.Sequential(
        conv(1, 16, 3, 2, act=act),
        depthwise(16, 5, 2, act=act),
        SqueezeExcite(16, 8, nn.Hardsigmoid),
        conv(16, 32, 1, act=act),
        depthwise(32, 7, act=act),
        conv(32, 40, 1, act=act),
        depthwise(40, 9, act=act),
        SqueezeExcite(40, 16),
        conv(40, 64, 1, act=act),
        depthwise(64, 5, 2, act=act),
        SqueezeExcite(64, 16, nn.Hardsigmoid),
        conv(64, 160, 1, act=act),
        head(160, CLASSES),
    )


def shuffled() -> nn.Module:
    """ShuffleNet's way: grouped 1×1 and 3×3, channel shuffle, a 3×3 average pool of stride 2 as the shortcut."""

    def unit(channels: int, side: int) -> nn.Module:
        return Residual(
            nn.Sequential(
                conv(channels, channels // 2, 1, groups=4),
                shuffle(channels // 2, 4, side),
                depthwise(channels // 2, 3, act=None),
                conv(channels // 2, channels, 1, groups=4, act=None),
            )
        )

    def shrinking(channels: int, side: int) -> nn.Module:
        body = nn.Sequential(
            conv(channels, channels, 1, groups=4),
            shuffle(channels, 4, side),
            depthwise(channels, 3, 2, act=None),
            conv(channels, channels, 1, groups=4, act=None),
        )
        return nn.Sequential(Branches(nn.AvgPool2d(3, 2, 1), body), nn.ReLU())

    return nn.Sequential(
        conv(1, 16, 3, 2),
        nn.MaxPool2d(3, 2, 1),
        conv(16, 32, 3, groups=4),
        shuffle(32, 4, 8),
        unit(32, 8),
        unit(32, 8),
        shrinking(32, 8),
        unit(64, 4),
        conv(64, 128, 3, groups=8),
        head(128, CLASSES),
    )


def inception() -> nn.Module:
    """Inception's way: branches of 1×1, 3×3, 5×5, 1×3 and 3×1, and 3×3 pools of stride 1 and 2, side by side."""
    return nn.Sequential(
        conv(1, 16, 3, 2),
        nn.MaxPool2d(3, 2, 1),
        Branches(
            conv(16, 16, 1),
            conv(16, 24, 3),
            nn.Sequential(conv(16, 8, 1), conv(8, 16, 5)),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(16, 8, 1)),
        ),
        Branches(
            conv(64, 16, 1),
            nn.Sequential(conv(64, 16, 1), conv(16, 24, (1, 3)), conv(24, 32, (3, 1))),
            nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(64, 16, 1)),
        ),
        Branches(nn.Sequential(conv(64, 24, 1), conv(24, 48, 3, 2)), nn.MaxPool2d(3, 2, 1)),
        conv(112, 128, 1),
        nn.Dropout2d(0.1),
        head(128, CLASSES),
    )


def dense() -> nn.Module:
    """DenseNet's way: BatchNorm before each convolution, and maps that grow by a few channels a layer."""

    def layer(channels: int, growth: int = 16) -> nn.Module:
        return SkipOver(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, growth, 3, padding=1, bias=False))

    def transition(inside: int, outside: int) -> nn.Module:
        return nn.Sequential(
            nn.BatchNorm2d(inside), nn.ReLU(), nn.Conv2d(inside, outside, 1, bias=False), nn.AvgPool2d(2, 2)
        )

    return nn.Sequential(
        conv(1, 16, 3, 2),
        nn.AvgPool2d(2, 2),
        *(layer(channels) for channels in (16, 32, 48)),
        transition(64, 48),
        *(layer(channels) for channels in (48, 64, 80)),
        nn.BatchNorm2d(96),
        nn.ReLU(),
        head(96, CLASSES),
    )


def hourglass() -> nn.Module:
    """An encoder–decoder with GELU: transposed convolutions 2×2 and 4×4, each beside what it came from."""
    act = nn.GELU

    def up(inside: int, outside: int, kernel: int) -> nn.Module:
        return nn.Sequential(
            nn.ConvTranspose2d(inside, outside, kernel, 2, (kernel - 2) // 2, bias=False),
            nn.BatchNorm2d(outside),
            act(),
        )

    return nn.Sequential(
        conv(1, 16, 3, 2, act=act),
        conv(16, 24, 3, 2, act=act),
        SkipOver(conv(24, 32, 3, 2, act=act), up(32, 8, 2)),
        conv(32, 24, 3, act=act),
        SkipOver(conv(24, 48, 3, 2, act=act), up(48, 16, 4)),
        conv(40, 64, 3, 2, act=act),
        head(64, CLASSES),
    )


def residual() -> nn.Module:
    """ResNet's way: an Add, then ReLU; shortcuts that are the identity or a 1×1 of stride 2."""

    def block(inside: int, outside: int, stride: int = 1) -> nn.Module:
        body = nn.Sequential(conv(inside, outside, 3, stride), conv(outside, outside, 3, act=None))
        return Residual(body, conv(inside, outside, 1, 2, act=None) if stride == 2 else None)

    return nn.Sequential(
        conv(3, 16, 3, 2), block(16, 16), block(16, 32, 2), block(32, 32), block(32, 64, 2), head(64, CLASSES)
    )


def swish() -> nn.Module:
    """EfficientNet's way: SiLU and Mish, sigmoid gates, linear bottlenecks whose Adds have no activation."""

    def block(inside: int, outside: int, stride: int, act: Callable[[], nn.Module], wide: int) -> nn.Module:
        body = nn.Sequential(
            conv(inside, wide, 1, act=act),
            depthwise(wide, 3, stride, act=act),
            SqueezeExcite(wide, 8),
            conv(wide, outside, 1, act=None),
        )
        return Residual(body, act=None) if stride == 1 and inside == outside else body

    return nn.Sequential(
        conv(3, 16, 3, 2, act=nn.SiLU),
        conv(16, 32, 3, 2, act=nn.SiLU),
        block(32, 32, 1, nn.SiLU, 64),
        block(32, 64, 2, nn.SiLU, 96),
        block(64, 64, 1, nn.SiLU, 128),
        conv(64, 128, 1, act=nn.Mish),
        head(128, CLASSES),
    )


def wide() -> nn.Module:
    """One 3×3 of 66 weight loads (the KPU's register holds 64), the smallest such layer there is."""
    return nn.Sequential(
        conv(1, 8, 3, 2),
        conv(8, 24, 3, act=None),
        nn.MaxPool2d(2, 2),
        nn.ReLU6(),
        conv(24, 48, 3, 2),
        conv(48, 856, 1),
        conv(856, 196, 3),
        head(196, CLASSES),
    )


def products() -> nn.Module:
    """LeNet's way: two fully connected layers, of which the first reads a whole map."""
    return nn.Sequential(
        conv(1, 16, 3, 2),
        conv(16, 24, 3),
        conv(24, 32, 3, 2),
        nn.Flatten(),
        nn.Linear(32 * 8 * 8, 64),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(64, CLASSES),
    )


_MNIST, _CIFAR = "fashion-mnist", "cifar-10"

ARCHITECTURES: dict[str, Architecture] = {
    "inception": Architecture(
        inception,
        _MNIST,
        ("1×3, 3×1", "concat of branches", "dense 5×5", "max and avg pool 3×3 s1, max 3×3 s2", "Dropout"),
    ),
    "hourglass": Architecture(hourglass, _MNIST, ("ConvTranspose 2×2 s2, 4×4 s2", "GELU", "concat of few channels")),
    "dense": Architecture(dense, _MNIST, ("BatchNorm before conv, standing alone", "concat of few channels")),
    "mobile": Architecture(
        mobile,
        _MNIST,
        (
            "ReLU6",
            "depthwise with multiplier",
            "stride-2 depthwise, before a 1×1 and before a 3×3",
            "C > 1024, out and in",
        ),
    ),
    "mobile-large": Architecture(
        mobile_large,
        _MNIST,
        ("depthwise 5×5 s2, 7×7, 9×9", "HardSwish", "sigmoid and hard-sigmoid gates", "squeeze-and-excitation"),
    ),
    "shuffled": Architecture(
        shuffled,
        _MNIST,
        ("grouped 1×1 and 3×3, channel shuffle", "avg pool 3×3 s2", "residual Add after ReLU (identity)"),
    ),
    "paddings": Architecture(
        paddings,
        _MNIST,
        (
            "1×3, 3×1, 2×2, 1×2",
            "ReLU6",
            "Dropout",
            "BatchNorm before conv, on the input",
            "valid, TF-SAME and asymmetric padding",
            "stride (2,1), (1,2)",
        ),
    ),
    "large-kernels": Architecture(
        large_kernels,
        _MNIST,
        (
            "dense 4×4 s2, 5×5, 7×7, 9×9, 11×11 s4",
            "stride 4",
            "activation before a max pool 3×3 s1",
            "Dropout",
            "fully connected K > 1024",
        ),
    ),
    "dilated": Architecture(dilated, _MNIST, ("dilated 3×3 (2, 4)", "stride 3", "PReLU")),
    "residual": Architecture(
        residual,
        _CIFAR,
        ("residual Add after ReLU (identity, 1×1 s2)", "normalisation that differs from channel to channel"),
    ),
    "swish": Architecture(
        swish,
        _CIFAR,
        (
            "SiLU",
            "Mish",
            "squeeze-and-excitation, sigmoid gates",
            "residual Add of signed maps",
            "stride-2 depthwise",
        ),
    ),
    "products": Architecture(products, _MNIST, ("fully connected K > 1024, before another", "Dropout")),
    "wide": Architecture(wide, _MNIST, ("3×3 with more than 64 weight loads", "ReLU6 behind a max pool 2×2")),
}
