"""The prediction without a compiler; its figures for real compiles are in test_prediction_nncase.py."""

from __future__ import annotations

import struct
import time
from itertools import pairwise
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from prediction_networks import ALL_KPU, WITH_CPU, Builder

from pipeline.errors import KmodelError, NetworkError
from pipeline.kpu.memory.allocation import Buffer, peak, place
from pipeline.kpu.prediction import predict, predict_kmodel_bytes


def resnet(blocks: int) -> Builder:
    net = Builder(3, 32, 32).conv(16)
    for index, channels in enumerate((16, 32, 64)):
        for block in range(blocks):
            net = net.down_residual(channels) if index and block == 0 else net.residual()
    return net.head(10)


@pytest.mark.parametrize(("blocks", "size", "heap"), [(3, 335_040, 196_608), (9, 1_034_776, 196_608)])
def test_resnets_are_as_nncase_compiled_them(blocks: int, size: int, heap: int) -> None:
    predicted = predict(resnet(blocks).model())
    assert (predicted.kmodel_bytes, predicted.heap_bytes) == (size, heap)


@pytest.mark.parametrize(("width", "size", "kpu"), [(0.5, 870_224, 1_089_536), (1.0, 3_296_592, 2_007_040)])
def test_mobilenets_are_as_nncase_compiled_them(width: float, size: int, kpu: int) -> None:
    net = Builder(3, 224, 224).conv(int(32 * width), 3, 2)
    stages = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for out, stride in stages:
        net.depthwise(stride).conv(int(out * width), 1)
    predicted = predict(net.head(10).model())
    assert (predicted.kmodel_bytes, predicted.kpu_bytes) == (size, kpu)


@pytest.mark.parametrize(
    "folder",
    ["n1_conv3x3_maxpool", "n2_mobilenet_s2", "n3_leaky_odd", "n4_relu6_meanpool", "n5_wide320", "n6_yolo_head"],
)
@pytest.mark.parametrize("version", [3, 4, 5])
def test_golden_files_to_the_byte(shared: Path, folder: str, version: int) -> None:
    golden = shared / "kmodels" / "golden" / folder
    kmodel = (golden / f"model_v{version}.kmodel").read_bytes()
    model = onnx.load(golden / "model.onnx")
    predicted = predict(model, version, float_output=folder in ("n3_leaky_odd", "n6_yolo_head"))
    assert predicted.kmodel_bytes == len(kmodel)
    if version < 5:
        (main_memory,) = struct.unpack_from("<I", kmodel, 20)
        assert predicted.heap_bytes == main_memory


@pytest.mark.parametrize("folder", ["c1_mobilenet_gap_gemm", "c2_conv_gap_gemm"])
def test_float_heads_of_v3_and_v4_to_the_byte(shared: Path, folder: str) -> None:
    golden = shared / "kmodels" / "golden" / folder
    model = onnx.load(golden / "model.onnx")
    assert predict_kmodel_bytes(model, 4) == (golden / "model_v4_floathead.kmodel").stat().st_size
    assert predict_kmodel_bytes(model, 3) == (golden / "model_v3.kmodel").stat().st_size


def test_batch_norm_counts_as_folded() -> None:
    plain = Builder(3, 32, 32).conv(16, act="").conv(8)
    kept = Builder(3, 32, 32).conv(16, act="").batch_norm().conv(8)
    assert predict(kept.model()).kmodel_bytes == predict(plain.model()).kmodel_bytes


def test_batch_dimension_may_be_dynamic() -> None:
    model = ALL_KPU["classifier"]().model()
    fixed = predict(model)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    assert predict(model) == fixed


def test_layers_say_where_they_run() -> None:
    layers = predict(WITH_CPU["5x5 stem"]().model()).layers
    assert [(layer.op, layer.unit) for layer in layers] == [
        ("Conv", "cpu"),
        ("Clip", "cpu"),
        ("Conv", "kpu"),
        ("Clip", "kpu"),
        ("ReduceMean", "cpu"),
        ("Gemm", "kpu"),
    ]
    stem, _, conv = layers[:3]
    assert stem.weight_bytes == 4 * (16 * 3 * 25 + 16)
    assert conv.weight_bytes == 16 * 32 * 9 + 8 * 32 + 144
    assert conv.kpu_bytes == 16 * 16 * 16 + 32 * 16 * 16
    assert stem.cycles is None
    assert conv.cycles > 0


def test_float_head_is_on_the_cpu_in_v4() -> None:
    assert predict(ALL_KPU["classifier"]().model(), 4).layers[-1].unit == "cpu"


def test_weight_loads_are_reported_past_the_limit() -> None:
    layers = predict(Builder(3, 8, 8).conv(512, 1).conv(512).model()).layers
    assert layers[2].weight_loads == 86


def test_fragmentation_counts() -> None:
    mib = 1 << 20
    chain = [Buffer(mib, 0, 1, "a"), Buffer(mib // 2, 1, 2, "b"), Buffer(13 * mib // 10, 2, 2, "c")]
    assert peak(chain, 64) > 2 * mib


@given(
    st.lists(
        st.tuples(st.integers(1, 5000), st.integers(0, 20), st.integers(0, 20)).map(
            lambda b: (b[0], min(b[1:]), max(b[1:]))
        ),
        max_size=20,
    )
)
def test_live_buffers_never_overlap(spans: list[tuple[int, int, int]]) -> None:
    buffers = [Buffer(size, born, dies, str(index)) for index, (size, born, dies) in enumerate(spans)]
    addresses = place(buffers)
    for step in range(21):
        live = sorted((addresses[b.key], b.size) for b in buffers if b.born <= step <= b.dies)
        assert all(a + size <= b for (a, size), (b, _) in pairwise(live))
        assert peak(buffers) >= sum(size for _, size in live)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.integers(1, 70), st.sampled_from([1, 3]), st.sampled_from([1, 2]), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([3, 4, 5]),
)
def test_one_more_channel_never_shrinks_a_kmodel(layers: list[tuple[int, int, int, bool]], version: int) -> None:
    def build(extra: int) -> Builder:
        net = Builder(3, 64, 64)
        for out, kernel, stride, depthwise in layers:
            net.conv(out + extra, kernel, stride)
            if depthwise:
                net.depthwise()
        return net

    small, large = (predict(build(extra).model(), version) for extra in (0, 1))
    assert large.kmodel_bytes >= small.kmodel_bytes
    maps = [layer.kpu_bytes for layer in small.layers]
    assert max(maps) <= small.kpu_bytes <= sum(maps)
    assert sum(layer.weight_bytes for layer in small.layers) < small.kmodel_bytes


def test_it_is_fast_enough_to_solve_with() -> None:
    model, times = resnet(9).model(), []
    for _ in range(5):
        started = time.perf_counter()
        predict(model)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.05 * 4  # four times the aim: machines under load


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(KmodelError, match="v6"):
        predict(ALL_KPU["one layer"]().model(), 6)


def test_an_unknown_operator_is_refused_by_its_name() -> None:
    node = helper.make_node("Mystery", ["image"], ["out"], name="layer7", domain="made.up")
    graph = helper.make_graph(
        [node],
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("made.up", 1)]
    predicted = predict(helper.make_model(graph, opset_imports=opsets))
    assert [(refusal.layer, refusal.op) for refusal in predicted.refusals] == [("layer7", "Mystery")]
    assert not predicted.compiles


def test_a_window_larger_than_its_input_is_named() -> None:
    net = Builder(3, 8, 8).conv(8)
    net.shape = (8, 32, 32)  # lies about the size, so that the pool is too large
    net.pool(16, 16, "MaxPool")
    graph = helper.make_graph(
        net.nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(net.tensor, TensorProto.FLOAT, None)],
        net.weights,
    )
    with pytest.raises(NetworkError, match="window of 16"):
        predict(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]))
