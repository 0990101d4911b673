from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import KmodelError
from pipeline.kmodel.convolution import BatchNorm, KpuConv, pack_activation
from pipeline.kmodel.memory import DType, KpuLayout, Range
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.parts import convolution, main_range
from pipeline.kmodel.read import read
from pipeline.kmodel.registers import Registers
from pipeline.kmodel.steps import (
    Binary,
    Concat,
    Conv2d,
    Copy,
    DequantiseChannels,
    Flatten,
    L2Norm,
    Logistic,
    Lookup,
    Quantise,
    QuantisedBinary,
    ReduceWindow,
    Requantise,
    Resize,
    Softmax,
    Step,
    Unary,
    Unknown,
)
from pipeline.kmodel.write import write

MISSING_TAIL = {"v3_iris": 4, "v4_slim320": 4, "v4_uint8_mnist": 4}
"""Files whose last body lacks its padding; written, they have it."""
U8, F32 = DType.UINT8, DType.FLOAT32


def test_real_files_are_reproduced(real_files: dict[str, bytes]) -> None:
    for name, data in real_files.items():
        if not name.startswith("v5"):
            assert write(read(data)) == data + bytes(MISSING_TAIL.get(name, 0)), name


def test_golden_files_are_reproduced(goldens: list[Path]) -> None:
    for golden in goldens:
        for path in sorted(golden.glob("model_v[34]*.kmodel")):
            assert write(read(path.read_bytes())) == path.read_bytes(), path


@pytest.mark.parametrize("name", ["n3_v3", "n3_v4", "c1_v4"])
def test_committed_files_are_reproduced(committed: dict[str, bytes], name: str) -> None:
    assert write(read(committed[name])) == committed[name]
    assert write(read(committed[name] + b"tail")) == committed[name] + b"tail"


def test_v5_is_not_written(committed: dict[str, bytes]) -> None:
    with pytest.raises(KmodelError, match="v5 is not written"):
        write(read(committed["n3_v5"]))


def small_convolution(channels: int, width: int, seed: int) -> KpuConv:
    """A 1×1 convolution of random tables on a 4-high map, written to general SRAM."""
    rng = np.random.default_rng(seed)
    layout = KpuLayout.of_width(width)
    registers = Registers(
        in_channels_minus_1=channels - 1, out_channels_minus_1=channels - 1,
        out_channels_per_load_minus_1=channels - 1, in_width_minus_1=width - 1, in_height_minus_1=3,
        out_width_minus_1=width - 1, out_height_minus_1=3, para_size=channels * channels, dst_address=1024,
        row_switch=layout.row_length, coef_group=layout.group,
    )  # fmt: skip
    values = rng.integers(-100, 100, (4, 16))
    activation = pack_activation(np.sort(values[0]), values[1], np.abs(values[2]), np.abs(values[3]))
    output = main_range(U8, 0, (1, channels, 4, width))
    words = rng.integers(0, 1 << 59, channels).astype("<u8").tobytes()
    weights = rng.integers(0, 256, channels * channels, dtype=np.uint8).tobytes()
    return convolution(registers, weights, BatchNorm(words).words, activation.table, output, 1, "layer 0 (K210_CONV)")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(4, 80), st.sampled_from([3, 4]), st.integers(0, 99))
def test_a_convolution_survives_writing(channels: int, width: int, version: int, seed: int) -> None:
    conv = small_convolution(channels, width, seed)
    conv = replace(conv, registers=replace(conv.registers, send_data_out=int(version == 4)))
    given_ = conv.source if version == 3 else replace(conv.source, size=channels * 4 * width)
    model = Kmodel(version, (given_,), (conv.main_output,), (conv,), main_bytes=1 << 16, flags=1)
    data = write(model)
    back = read(data)
    assert replace(back.convolutions[0], name=conv.name) == conv
    assert (back.inputs, back.outputs, back.main_bytes) == (model.inputs, model.outputs, model.main_bytes)
    assert write(back) == data


def u8(start: int, *shape: int) -> Range:
    return main_range(U8, start, shape)


def f32(start: int, *shape: int) -> Range:
    return main_range(F32, start, shape)


def shapeless(r: Range) -> Range:
    return replace(r, shape=())


RESCALE = ((1, 2, 3), (-4, 5, 6), (7, -8, 9))
V3_STEPS: list[Step] = [
    Binary("add", f32(0, 9), f32(40, 9), f32(80, 9)),
    QuantisedBinary("add", u8(0, 9), u8(16, 9), u8(32, 9), rescale=RESCALE),
    ReduceWindow(u8(0, 1, 2, 6, 4), u8(64, 1, 2, 3, 2), "max", (2, 3), (2, 2), ((0, 0), (1, 1))),
    ReduceWindow(f32(0, 1, 2, 6, 4), f32(256, 1, 2, 3, 2), "mean", (2, 2), (2, 2), ((0, 0), (0, 0)), activation=1),
    Quantise(f32(0, 9), u8(64, 9), 0.25, -1.5),
    Requantise(u8(0, 9), u8(16, 9), bytes(range(256))),
    L2Norm(f32(0, 9), f32(64, 9)),
    Softmax(f32(0, 9), f32(64, 9), 0),
    Logistic(f32(0, 9), f32(64, 9)),
    Concat(
        (replace(u8(0, 8), shape=()), replace(u8(16, 8), shape=())), replace(u8(32, 16), shape=()), 1, 1, (8, 8), True
    ),
    Flatten(f32(0, 1, 2, 3, 4), f32(128, 1, 24)),
    Resize(u8(0, 1, 2, 3, 4), u8(64, 1, 2, 6, 8), "nearest"),
    Resize(f32(0, 1, 2, 3, 4), f32(128, 1, 2, 6, 8), "nearest", align_corners=True),
    DequantiseChannels(u8(0, 2, 3), f32(16, 2, 3), ((0.5, 1.0), (0.25, -2.0))),
    Unknown("", 4242, b"twelve bytes"),
]
V4_STEPS: list[Step] = [
    Binary("max", f32(0, 1, 1, 3, 3), f32(40, 1, 1, 1, 3), f32(80, 1, 1, 3, 3), (0.0, 6.0)),
    QuantisedBinary("mul", u8(0, 1, 1, 1, 9), u8(16, 1, 1, 1, 9), u8(32, 1, 1, 1, 9), rescale=RESCALE),
    Concat((shapeless(f32(0, 2)), shapeless(f32(8, 4))), shapeless(f32(32, 6)), 1, 8, (1, 2)),
    Conv2d(
        f32(0, 1, 2, 4, 4),
        f32(128, 1, 3, 2, 2),
        bytes(4 * 54),
        bytes(12),
        (3, 3),
        1,
        (2, 2),
        ((1, 0), (1, 0)),
        (1, 1),
        (0.0, 6.0),
    ),
    ReduceWindow(
        f32(0, 1, 2, 4, 4), f32(128, 1, 2, 2, 2), "max", (2, 2), (2, 2), ((0, 0), (0, 0)), init=-1.0, clamp=(0.0, 6.0)
    ),
    Copy(f32(0, 9), f32(64, 9)),
    Resize(f32(0, 1, 2, 3, 4), f32(128, 1, 2, 6, 8), "bilinear", align_corners=True),
    Softmax(f32(0, 2, 9), f32(80, 2, 9), 1, 2.0),
    Unary(f32(0, 9), f32(64, 9), "exp"),
    Lookup(shapeless(u8(0, 9)), shapeless(u8(16, 9)), shapeless(u8(256, 256))),
    Unknown("", 0x7777, b"whatever"),
]


@pytest.mark.parametrize("step", V3_STEPS, ids=lambda step: type(step).__name__)
def test_v3_layers_survive_writing(step: Step) -> None:
    conv = replace(small_convolution(4, 8, 0), main_output=None)
    model = Kmodel(3, (conv.source,), (), (conv, step), main_bytes=2048, flags=1)
    assert read(write(model)).steps[1] == step


@pytest.mark.parametrize("step", V4_STEPS, ids=lambda step: type(step).__name__)
def test_v4_nodes_survive_writing(step: Step) -> None:
    model = Kmodel(4, (), (), (step,), main_bytes=2048)
    assert read(write(model)).steps[0] == step


@pytest.mark.parametrize(
    ("version", "step"), [(3, V4_STEPS[5]), (3, V4_STEPS[8]), (4, V3_STEPS[5]), (4, V3_STEPS[13])], ids=str
)
def test_a_step_of_another_version_is_refused(version: int, step: Step) -> None:
    with pytest.raises(KmodelError, match=f"has no (layer|node) in kmodel v{version}"):
        write(Kmodel(version, (), (), (step,), main_bytes=2048))
