"""Netron's reader, written by others from the format alone, sees in our files what we wrote."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.kmodel.model import Kmodel, KpuConv
from pipeline.kmodel.read import read
from pipeline.kmodel.steps import DequantiseV4, FullyConnected, MatMul, Pad
from pipeline.kmodel.transcode import transcode
from pipeline.kmodel.write import write

HERE = Path(__file__).parent
V3_NAMES = {
    "KpuConv": "K210_CONV", "Dequantise": "DEQUANTIZE", "Quantise": "QUANTIZE", "FullyConnected": "FULLY_CONNECTED",
    "Flatten": "TENSORFLOW_FLATTEN", "Softmax": "SOFTMAX", "AddPadding": "K210_ADD_PADDING",
    "RemovePadding": "K210_REMOVE_PADDING", "Reduce": "GLOBAL_AVERAGE_POOL2D",
}  # fmt: skip
V4_NAMES = {
    "KpuConv": "kpu_conv2d", "DequantiseV4": "dequantize", "QuantiseV4": "quantize", "Reduce": "reduce", "Pad": "pad",
    "Upload": "kpu_upload", "Slice": "strided_slice", "Copy": "memory_copy", "MatMul": "matmul",
    "Transpose": "transpose", "Concat": "concat", "QuantisedBinary": "quantized_binary", "Unary": "unary",
}  # fmt: skip


@pytest.fixture(scope="session")
def netron(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Netron's kmodel reader as an ECMAScript module."""
    if shutil.which("node") is None:
        pytest.skip("node, which runs Netron's reader, is not installed")
    package = importlib.util.find_spec("netron")
    assert package is not None
    assert package.origin is not None
    folder = tmp_path_factory.mktemp("netron")
    for name in ("kmodel.js", "base.js"):
        shutil.copy(Path(package.origin).parent / name, folder / name)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


def netron_reads(netron: Path, tmp_path: Path, files: list[bytes]) -> list[dict[str, Any]]:
    paths = [tmp_path / f"{number}.kmodel" for number in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    command = ["node", str(HERE / "netron_kmodel.mjs"), str(netron), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def compare(model: Kmodel, seen: dict[str, Any]) -> None:
    assert seen["format"] == f"kmodel v{model.version}"
    nodes = seen["modules"][0]["nodes"]
    names = V3_NAMES if model.version == 3 else V4_NAMES
    assert [node["type"] for node in nodes] == [names[type(step).__name__] for step in model.steps]
    for step, node in zip(model.steps, nodes, strict=True):
        attributes = node["attributes"]
        if isinstance(step, KpuConv):
            compare_convolution(step, node)
        elif isinstance(step, FullyConnected):
            assert node["weights"] == len(step.weights)
        elif isinstance(step, DequantiseV4):
            assert (attributes["zero_point"], np.float32(attributes["scale"])) == (
                step.zero_point,
                np.float32(step.scale),
            )
        elif isinstance(step, Pad):
            assert attributes["paddings"] == [{"before": before, "after": after} for before, after, _ in step.paddings]
        elif isinstance(step, MatMul):
            assert (attributes["a_rows"], attributes["a_cols"]) == step.a.shape


def compare_convolution(conv: KpuConv, node: dict[str, Any]) -> None:
    r, a = conv.registers, node["attributes"]
    assert node["weights"] == len(conv.weights)
    assert node["outputs"][0][0] == [r.out_width, r.out_height, r.out_channels]
    assert a["interrupt_enabe"]["depth_wise_layer"] == r.depth_wise
    assert a["image_channel_num"] == {
        "i_ch_num": r.in_channels_minus_1, "o_ch_num": r.out_channels_minus_1,
        "o_ch_num_coef": r.out_channels_per_load_minus_1,
    }  # fmt: skip
    assert a["image_size"] == {
        "i_row_wid": r.in_width_minus_1, "i_col_high": r.in_height_minus_1,
        "o_row_wid": r.out_width_minus_1, "o_col_high": r.out_height_minus_1,
    }  # fmt: skip
    kernel = a["kernel_pool_type_cfg"]
    assert (kernel["kernel_type"], kernel["pool_type"], kernel["pad_value"]) == (
        r.kernel_type,
        r.pool_type,
        r.pad_value,
    )
    load = a["kernel_load_cfg"]
    assert (load["load_time"], load["para_size"]) == (r.load_time_minus_1, r.para_size)
    assert a["kernel_calc_type_cfg"]["channel_switch_addr"] == r.channel_switch
    assert a["write_back_cfg"]["wb_channel_switch_addr"] == r.wb_channel_switch
    assert a["dma_parameter"]["dma_total_byte"] == r.dma_total_bytes_minus_1
    batch_norm, activation = node["chain"]
    mul = [channel["norm_mul"] for channel in batch_norm["attributes"]["weights"]]
    assert mul == list(conv.batch_norm.mul & 0xFFFFFF)
    assert [channel["norm_shift"] for channel in batch_norm["attributes"]["weights"]] == list(conv.batch_norm.shift)
    segments = activation["attributes"]["activate_para"]
    assert [segment["shift_number"] for segment in segments] == list(conv.activation.shift)
    assert [segment["y_mul"] for segment in segments] == list(conv.activation.mul & 0xFFFF)
    assert [segment["bias"] & 0xFF for segment in segments] == list(conv.activation.add)


def test_netron_agrees_on_what_we_transcode(netron: Path, tmp_path: Path, committed: dict[str, bytes]) -> None:
    models = [transcode(read(committed["n3_v5"]), 3), transcode(read(committed["n3_v5"]), 4, max_shift=20)]
    models.append(transcode(read(committed["c1_v5"]), 4))
    for model, seen in zip(models, netron_reads(netron, tmp_path, [write(m) for m in models]), strict=True):
        compare(model, seen)


def test_netron_agrees_on_real_files(netron: Path, tmp_path: Path, real_files: dict[str, bytes]) -> None:
    files = [data for name, data in real_files.items() if name[:2] in ("v3", "v4")]
    written = [write(read(data)) for data in files]
    for data, seen in zip(written, netron_reads(netron, tmp_path, written), strict=True):
        compare(read(data), seen)


def test_netron_counts_the_same_functions_in_v5(netron: Path, tmp_path: Path, real_files: dict[str, bytes]) -> None:
    (seen,) = netron_reads(netron, tmp_path, [real_files["v5_yolox_nano_224"]])
    assert [module["kind"] for module in seen["modules"]] == ["stackvm", "k210"]
    assert len(seen["modules"][1]["nodes"]) == 27
