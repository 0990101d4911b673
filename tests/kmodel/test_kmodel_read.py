from __future__ import annotations

from collections import Counter

import pytest

from pipeline.errors import KmodelError
from pipeline.kmodel.check import check_dataflow
from pipeline.kmodel.memory import DType, Location
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.read import read
from pipeline.kmodel.registers import Pool
from pipeline.kmodel.steps import (
    Copy,
    Dequantise,
    DequantiseV4,
    FullyConnected,
    Pad,
    Quantise,
    Reduce,
    Slice,
    Softmax,
    Unknown,
)


def kinds(model: Kmodel) -> dict[str, int]:
    return dict(Counter(type(step).__name__ for step in model.steps))


def test_every_byte_of_every_file_is_accounted_for(real_files: dict[str, bytes], committed: dict[str, bytes]) -> None:
    for name, data in {**real_files, **committed}.items():
        model = read(data, name)
        assert model.sizes.total == len(data), name
        assert model.trailing == b"", name
        assert not any(isinstance(step, Unknown) for step in model.steps), name


def test_real_files_hold_what_is_known_of_them(real_files: dict[str, bytes]) -> None:
    models = {name: read(data) for name, data in real_files.items()}
    facedetect = models["v3_facedetect"]
    assert len(facedetect.convolutions) == 23
    assert facedetect.heap_bytes == 45_000
    assert facedetect.inputs[0].shape == (1, 3, 240, 320)
    assert models["v3_mnist"].heap_bytes == 14_112
    assert kinds(models["v3_mnist"]) == {
        "KpuConv": 3, "Dequantise": 2, "Flatten": 1, "FullyConnected": 1, "Quantise": 1, "AddPadding": 1,
        "RemovePadding": 1, "Softmax": 1,
    }  # fmt: skip
    iris = models["v3_iris"]
    assert [step.target.elements for step in iris.steps if isinstance(step, FullyConnected)] == [10, 3]
    assert iris.inputs[0].location is Location.MAIN
    assert "4 bytes past the file's end" in iris.notes[0]
    slim = models["v4_slim320"]
    assert len(slim.convolutions) == 42
    assert [output.size for output in slim.outputs] == [35_360, 70_720]
    yolox = models["v5_yolox_nano_224"]
    assert len(yolox.convolutions) == 120
    assert kinds(yolox)["Upload"] == 27
    assert yolox.outputs[0].shape == (1, 1029, 85)
    assert yolox.heap_bytes == 1_204_224
    assert yolox.kpu_bytes == 630_784  # nncase of 2021 fills feature-map memory from its end
    assert yolox.sizes.weights == sum(conv.registers.weight_bytes for conv in yolox.convolutions)
    for name in ("v5_mnist_stackvm", "v5early_mnist"):
        assert models[name].has_cpu_convolution
        assert not models[name].convolutions
    assert models["v5early_mnist"].early
    assert models["v5early_mnist"].heap_bytes == 51_016


def test_every_v3_and_v4_program_reads_only_what_it_wrote(real_files: dict[str, bytes]) -> None:
    for data in real_files.values():
        model = read(data)
        if model.version in (3, 4):
            check_dataflow(model)


def test_a_v5_convolution_by_name(committed: dict[str, bytes]) -> None:
    model = read(committed["n3_v5"])
    first = model.convolutions[0]
    r = first.registers
    assert (r.in_channels, r.in_height, r.in_width) == (3, 23, 35)
    assert (r.out_channels, r.out_height, r.out_width) == (12, 11, 17)
    assert (r.kernel, r.pool, r.depthwise) == (3, Pool.MAX_2_STRIDE_2, False)
    assert first.weight_array.shape == (12, 3, 3, 3)
    assert (first.source.start, first.target.start) == (0, 69 * 64)
    assert first.activation.start[0] == -(1 << 35)
    assert first.macs == 9 * 3 * 12 * 23 * 35
    assert model.kpu_bytes == 15_680
    assert model.heap_bytes == 3368
    assert model.convolutions[0].name == "k210 function 0, step 1"


def test_a_v5_programs_calls_are_inlined(committed: dict[str, bytes]) -> None:
    model = read(committed["c1_v5"])
    names = [type(step).__name__ for step in model.steps]
    assert names == [
        "Upload", *["KpuConv"] * 7, "Download", "Dequantise", "Reduce", "Pad", "Quantise", "Upload", "KpuConv",
        "Download", "Dequantise", "Copy", "Copy",
    ]  # fmt: skip
    assert model.steps[0].inputs[0].location is Location.INPUT
    download, dequantise, reduce, pad, quantise = model.steps[8:13]
    assert isinstance(dequantise, Dequantise)
    assert dequantise.source == download.outputs[0]
    assert dequantise.source.shape == (1, 64, 8, 8)
    assert isinstance(reduce, Reduce)
    assert (reduce.op, reduce.axes, reduce.target.shape) == ("mean", (2, 3), (1, 64, 1, 1))
    assert isinstance(pad, Pad)
    assert pad.paddings == ((0, 0, 0), (0, 0, 0), (0, 3, 0), (0, 3, 0))
    assert isinstance(quantise, Quantise)
    assert quantise.target.dtype is DType.UINT8
    crop = model.steps[17]
    assert isinstance(crop, Copy)
    assert not crop.source.contiguous
    assert crop.source.shape == (1, 10, 1, 1)
    assert model.steps[18].outputs == model.outputs


def test_the_same_network_reads_alike_in_all_versions(committed: dict[str, bytes]) -> None:
    v5, v4, v3 = (read(committed[f"n3_{version}"]) for version in ("v5", "v4", "v3"))
    for other in (v4, v3):
        assert len(other.convolutions) == len(v5.convolutions)
        for a, b in zip(v5.convolutions, other.convolutions, strict=True):
            assert a.weights == b.weights
            assert a.batch_norm.masked() == b.batch_norm
            assert a.activation.masked() == b.activation
            assert (a.source, a.target) == (b.source, b.target)
        assert other.outputs[0].shape == v5.outputs[0].shape == (1, 18, 11, 17)
        assert other.kpu_bytes == v5.kpu_bytes
    assert isinstance(v4.steps[-1], DequantiseV4)
    assert v4.steps[-1].zero_point == 20


def test_crops_and_softmax_of_v4(committed: dict[str, bytes]) -> None:
    model = read(committed["c1_v4"])
    crop = next(step for step in model.steps if isinstance(step, Slice))
    assert (crop.source.shape, crop.begin, crop.end) == ((1, 10, 4, 4), (0, 0, 0, 0), (1, 10, 1, 1))
    assert not any(isinstance(step, Softmax) for step in model.steps)


@pytest.mark.parametrize("name", ["n3_v3", "n3_v4", "n3_v5", "c1_v4", "c1_v5"])
def test_truncation_is_noticed_and_trailing_data_is_kept(committed: dict[str, bytes], name: str) -> None:
    data = committed[name]
    for size in {*range(0, 400, 7), len(data) // 2, len(data) - 200}:
        with pytest.raises(KmodelError):
            read(data[:size])
    longer = read(data + b"something else")
    assert longer.trailing == b"something else"
    assert longer.sizes.trailing == 14
    assert longer.sizes.total == len(data) + 14


def test_code_of_an_unknown_nncase_is_kept(committed: dict[str, bytes]) -> None:
    data = bytearray(committed["n3_v5"])
    at = data.index(b"\x5e\x03\x00")  # the CALL: make it an operator that no nncase has
    data[at + 1] = 0xEE
    model = read(bytes(data))
    assert isinstance(model.steps[0], Unknown)
    assert "no nncase version that we know" in model.notes[0]
    assert len(model.convolutions) == 3
