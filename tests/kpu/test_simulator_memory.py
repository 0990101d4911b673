"""The memories of a running program, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulator_layers import make_layer

from pipeline.errors import KmodelError
from pipeline.kmodel.memory import DType, KpuLayout, Location, Range, kpu_bytes
from pipeline.kmodel.model import BatchNorm, Kmodel, KpuConv, Registers, pack_activation
from pipeline.kmodel.steps import AddPadding, Copy, Download, RemovePadding, Step, Unknown, Upload
from pipeline.kpu.arithmetic import Layer, convolve
from pipeline.kpu.simulate import simulate
from pipeline.kpu.simulator.memory import Arena, KpuMemory, Memory, PlainMap

RANDOM = np.random.default_rng(0)


def kpu_range(start: int, channels: int, height: int, width: int) -> Range:
    shape = (1, channels, height, width)
    return Range(Location.KPU, DType.UINT8, start, kpu_bytes(channels, height, width), shape)


def main_range(start: int, *shape: int, dtype: DType = DType.UINT8) -> Range:
    return Range(Location.MAIN, dtype, start, int(np.prod(shape)) * dtype.itemsize, shape)


def program(steps: list[Step], image: tuple[int, int, int], output: Range, main_bytes: int = 4096) -> Kmodel:
    return Kmodel(4, (kpu_range(0, *image),), (output,), tuple(steps), main_bytes)


def conv_step(layer: Layer, source: Range, target: Range) -> KpuConv:
    registers = Registers(
        in_channels_minus_1=layer.in_channels - 1,
        out_channels_minus_1=layer.out_channels - 1,
        kernel_type=layer.kernel // 2,
        depth_wise=int(layer.depthwise),
        pad_value=layer.pad_value,
        arg_x=layer.arg_x,
        shr_x=layer.shr_x,
        arg_w=layer.arg_w,
        shr_w=layer.shr_w,
        arg_add=layer.arg_add,
        pool_type=int(layer.pool),
    )
    words = (
        (layer.bn_mul & 0xFFFFFF) | (layer.bn_add & 0xFFFFFFFF) << 24 | layer.bn_shift << 56
    ).astype("<u8")  # fmt: skip
    table = pack_activation(layer.start, layer.mul, layer.shift, layer.add)
    return KpuConv(registers, layer.weights.tobytes(), BatchNorm(words.tobytes()), table, source, target)


def test_a_layer_of_a_kmodel_decodes_to_the_layer_that_it_was_made_of() -> None:
    layer = make_layer(4, 5, 9, 3)
    codes = RANDOM.integers(0, 256, (3, 5, 6, 7), np.uint8)
    source, target = kpu_range(0, 5, 6, 7), kpu_range(4096, 9, 6, 7)
    steps = [conv_step(layer, source, target), Download(target, main_range(0, 1, 9, 6, 7))]
    (output,) = simulate(program(steps, (5, 6, 7), main_range(0, 1, 9, 6, 7)), codes)
    np.testing.assert_array_equal(output, convolve(layer, codes))


@pytest.mark.parametrize("width", [4, 16, 17, 32, 33, 64, 65, 130])
def test_maps_side_by_side_are_read_as_one(width: int) -> None:
    """A concatenation: two maps behind each other, read as one of all channels."""
    group = KpuLayout.of_width(width).group
    first = RANDOM.integers(0, 256, (2, 2 * group, 5, width), np.uint8)
    second = RANDOM.integers(0, 256, (2, 3, 5, width), np.uint8)
    memory = KpuMemory(2, Arena())
    memory.write(640, PlainMap(first))
    memory.write(640 + kpu_bytes(2 * group, 5, width), PlainMap(second))
    both = memory.read(640, 2 * group + 3, 5, width).codes()
    np.testing.assert_array_equal(both, np.concatenate([first, second], axis=1))
    np.testing.assert_array_equal(memory.read(640, 2 * group, 5, width).codes(), first)


def test_what_is_partly_covered_keeps_the_rest() -> None:
    old = RANDOM.integers(0, 256, (1, 4, 8, 64), np.uint8)  # a row a line, 8 rows a channel
    new = RANDOM.integers(0, 256, (1, 1, 8, 64), np.uint8)
    memory = KpuMemory(1, Arena())
    memory.write(0, PlainMap(old))
    memory.write(8 * 64, PlainMap(new))  # over channel 1
    np.testing.assert_array_equal(
        memory.read(0, 4, 8, 64).codes(), np.stack([old[:, 0], new[:, 0], *old[:, 2:].swapaxes(0, 1)], 1)
    )
    memory.write(0, PlainMap(new))
    np.testing.assert_array_equal(memory.read(0, 2, 8, 64).codes(), np.concatenate([new, new], axis=1))


def test_memory_that_nothing_wrote_is_not_read() -> None:
    memory = KpuMemory(1, Arena())
    memory.write(0, PlainMap(np.zeros((1, 1, 4, 64), np.uint8)))
    with pytest.raises(KmodelError, match="nothing has written"):
        memory.read(0, 1, 5, 64)
    with pytest.raises(KmodelError, match="leave the KPU's"):
        memory.write((2 << 20) - 64, PlainMap(np.zeros((1, 1, 4, 64), np.uint8)))
    with pytest.raises(KmodelError, match="leave the KPU's"):
        memory.read(-64, 1, 4, 64)


def test_general_memory_has_types_strides_and_an_end() -> None:
    memory = Memory(Kmodel(4, (), (), (), 64), 2, Arena())
    part = main_range(4, 2, 3, dtype=DType.FLOAT32)
    values = RANDOM.random((2, 2, 3), np.float32)
    memory.store(part, values)
    np.testing.assert_array_equal(memory.view(part), values)
    turned = replace(part, shape=(3, 2), strides=(1, 3))
    np.testing.assert_array_equal(memory.view(turned), values.swapaxes(1, 2))
    odd = main_range(1, 4, dtype=DType.FLOAT32)  # not aligned
    memory.store(odd, np.ones((2, 4)))
    assert (memory.view(odd) == 1).all()
    for bad in (main_range(0, 65), main_range(-1, 2), main_range(61, 1, dtype=DType.FLOAT32)):
        with pytest.raises(KmodelError, match="leaves its memory"):
            memory.view(bad)


def test_v3s_padding_layers() -> None:
    """Each value in the first pixel of a 4×4 map, and every sixteenth value."""
    values, there, back = main_range(0, 3), kpu_range(1024, 3, 4, 4), main_range(64, 1, 3, 4, 4)
    image = RANDOM.integers(0, 256, (2, 1, 4, 4), np.uint8)
    steps: list[Step] = [
        Download(kpu_range(0, 1, 4, 4), main_range(0, 1, 1, 4, 4)),
        AddPadding(values, there, 3),
        Download(there, back),
        RemovePadding(back, main_range(200, 3), 3),
    ]
    (padded,) = simulate(program(steps, (1, 4, 4), back), image)
    (values_back,) = simulate(program(steps, (1, 4, 4), main_range(200, 3)), image)
    expected = image.reshape(2, -1)[:, :3]
    np.testing.assert_array_equal(padded[:, :, 0, 0], expected)
    assert padded.sum() == int(expected.sum())
    np.testing.assert_array_equal(values_back, expected)


def test_an_upload_and_a_strided_copy() -> None:
    image = RANDOM.integers(0, 256, (2, 2, 4, 6), np.uint8)
    steps: list[Step] = [
        Download(kpu_range(0, 2, 4, 6), main_range(0, 1, 2, 4, 6)),
        Copy(replace(main_range(0, 4, 3), strides=(6, 2)), main_range(100, 4, 3)),  # every other pixel of channel 0
        Upload(main_range(0, 1, 2, 4, 6), kpu_range(4096, 2, 4, 6)),
        Download(kpu_range(4096, 2, 4, 6), main_range(200, 1, 2, 4, 6)),
    ]
    (copied,) = simulate(program(steps, (2, 4, 6), main_range(100, 4, 3)), image)
    np.testing.assert_array_equal(copied, image[:, 0, :, ::2])
    (back,) = simulate(program(steps, (2, 4, 6), main_range(200, 1, 2, 4, 6)), image)
    np.testing.assert_array_equal(back, image)


def test_what_is_refused_says_what_and_where() -> None:
    image = np.zeros((1, 1, 4, 4), np.uint8)
    plain = program([], (1, 4, 4), main_range(0, 4))
    with pytest.raises(KmodelError, match=r"uint8 N×1×4×5, the kmodel takes uint8 N×1×4×4"):
        simulate(plain, np.zeros((1, 1, 4, 5), np.uint8))
    with pytest.raises(KmodelError, match="float32"):
        simulate(plain, image.astype(np.float32))
    with pytest.raises(KmodelError, match="the operator quantized_matmul"):
        simulate(program([Unknown("quantized_matmul", 16, b"")], (1, 4, 4), main_range(0, 4)), image)
    with pytest.raises(KmodelError, match="one input"):
        simulate(replace(plain, inputs=()), image)
    layer = make_layer(0, 1, 1, 1)
    conv = conv_step(layer, kpu_range(0, 1, 4, 4), kpu_range(1024, 1, 4, 4))
    for changed, message in (
        (replace(conv, batches=2, name="step 3"), "step 3: a convolution over 2 maps"),
        (replace(conv, weights=b"\0\0"), "only 8-bit weights"),
        (replace(conv, target=kpu_range(1024, 1, 2, 2)), "the result has shape"),
    ):
        with pytest.raises(KmodelError, match=message):
            simulate(program([changed], (1, 4, 4), main_range(0, 4)), image)
