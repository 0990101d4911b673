from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from pipeline.errors import KmodelError
from pipeline.kmodel.carry import reciprocal
from pipeline.kmodel.check import check_dataflow
from pipeline.kmodel.convolution import KpuConv
from pipeline.kmodel.memory import DType, Location, Range
from pipeline.kmodel.model import Kmodel
from pipeline.kmodel.read import read
from pipeline.kmodel.shifts import cap_shifts
from pipeline.kmodel.steps import (
    Conv2d,
    Dequantise,
    DequantiseV4,
    FullyConnected,
    MatMul,
    Pad,
    Quantise,
    Reduce,
    Slice,
    Step,
    Unknown,
    map_ranges,
)
from pipeline.kmodel.transcode import Head, Quant, transcode
from pipeline.kmodel.write import write


def onnx_head(path: Path) -> Head:
    """Return the fully connected layer of a golden classifier."""
    graph = onnx.load(path).graph
    values = {initializer.name: numpy_helper.to_array(initializer) for initializer in graph.initializer}
    gemm = next(node for node in graph.node if node.op_type == "Gemm")
    transposed = any(attribute.name == "transB" and attribute.i for attribute in gemm.attribute)
    weight = values[gemm.input[1]]
    return Head(weight if transposed else weight.T, values[gemm.input[2]])


def without_addresses(model: Kmodel) -> tuple[Step, ...]:
    """Return a program with every main-memory range at 0."""

    def move(r: Range) -> Range:
        return replace(r, start=0) if r.location is Location.MAIN else r

    return tuple(map_ranges(step, move) for step in model.steps)


def test_golden_models_become_their_golden_v4_and_v3(goldens: list[Path]) -> None:
    for folder in goldens:
        model = read((folder / "model_v5.kmodel").read_bytes())
        assert write(transcode(model, 4)) == (folder / "model_v4.kmodel").read_bytes(), folder
        if folder.name.startswith("n"):
            assert write(transcode(model, 3)) == (folder / "model_v3.kmodel").read_bytes(), folder


def test_golden_classifiers_take_float_heads(goldens: list[Path]) -> None:
    """Equal to the golden files but for main-memory addresses: the golden ones leave dead buffers allocated."""
    for folder in (folder for folder in goldens if folder.name.startswith("c")):
        model = read((folder / "model_v5.kmodel").read_bytes())
        head = onnx_head(folder / "model.onnx")
        for to, file in ((4, "model_v4_floathead.kmodel"), (3, "model_v3.kmodel")):
            ours, golden = transcode(model, to, head=head), read((folder / file).read_bytes())
            assert without_addresses(ours) == without_addresses(golden), folder
            assert ours.constants == golden.constants
            assert ours.main_bytes < golden.main_bytes
            assert len(write(ours)) == len((folder / file).read_bytes())
            assert "a float head replaces the model's last 9 steps" in ours.notes


def test_committed_models(committed: dict[str, bytes]) -> None:
    assert write(transcode(read(committed["n3_v5"]), 4)) == committed["n3_v4"]
    assert write(transcode(read(committed["n3_v5"]), 3)) == committed["n3_v3"]
    assert write(transcode(read(committed["c1_v5"]), 4)) == committed["c1_v4"]


def test_uninitialised_bits_do_not_reach_the_output(committed: dict[str, bytes]) -> None:
    model = transcode(read(committed["n3_v5"]), 4)
    for conv in model.convolutions:
        assert conv.batch_norm == conv.batch_norm.masked()
        assert conv.activation == conv.activation.masked()


def test_a_head_behind_a_uint8_output_needs_the_outputs_meaning(goldens: list[Path]) -> None:
    folder = next(folder for folder in goldens if folder.name.startswith("n1"))
    model = read((folder / "model_v5.kmodel").read_bytes())
    quant = json.loads((folder / "meta.json").read_text())["output"]["quant"]
    rng = np.random.default_rng(0)
    head = Head(rng.normal(size=(5, 24)).astype("f4"), rng.normal(size=5).astype("f4"))
    with pytest.raises(KmodelError, match="does not say what its uint8 output means"):
        transcode(model, 4, head=head)
    given = Quant(quant["scale"], quant["zero_point"])
    assert given.bias == pytest.approx(quant["bias"])
    v4, v3 = (transcode(model, to, head=head, output_quant=given) for to in (4, 3))
    assert [type(step) for step in v4.steps[-3:]] == [DequantiseV4, Reduce, MatMul]
    assert [type(step) for step in v3.steps[-3:]] == [Dequantise, Reduce, FullyConnected]
    product, layer = v4.steps[-1], v3.steps[-1]
    assert isinstance(product, MatMul)
    assert isinstance(layer, FullyConnected)
    weights = np.frombuffer(v4.constants[product.b.start : product.b.end], "<f4").reshape(24, 5)
    assert (head.weight == weights.T).all()
    assert layer.weights == head.weight.tobytes()
    assert v4.main_bytes == v3.main_bytes == 1536 + 6144  # the codes and their floats; the rest fits where they were
    flat = Head(np.zeros((2, 24 * 64), dtype="f4"), np.zeros(2, dtype="f4"), pool=False)
    assert [type(step) for step in transcode(model, 4, head=flat, output_quant=given).steps[-2:]] == [
        DequantiseV4,
        MatMul,
    ]


def test_a_head_must_fit(committed: dict[str, bytes]) -> None:
    with pytest.raises(KmodelError, match="cannot tell where the model's own head begins") as refused:
        transcode(read(committed["c1_v5"]), 4, head=Head(np.zeros((3, 63), "f4"), np.zeros(3, "f4")))
    assert refused.value.remedy
    with pytest.raises(KmodelError, match="out × in"):
        Head(np.zeros((3, 64), "f4"), np.zeros(4, "f4"))
    with pytest.raises(KmodelError, match="not finite"):
        Head(np.full((3, 64), np.nan, "f4"), np.zeros(3, "f4"))


def test_float_output(goldens: list[Path]) -> None:
    folder = next(folder for folder in goldens if folder.name.startswith("n1"))
    model = read((folder / "model_v5.kmodel").read_bytes())
    for to in (4, 3):
        ended = transcode(model, to, float_output=True, output_quant=Quant(0.25, 128))
        assert ended.outputs[0].dtype is DType.FLOAT32
        assert ended.outputs[0].shape == (1, 24, 8, 8)
        assert ended.main_bytes == 1536 + 4 * 1536
    with pytest.raises(KmodelError, match="does not say"):
        transcode(model, 4, float_output=True)
    already = read((folder.parent / "n3_leaky_odd" / "model_v5.kmodel").read_bytes())
    assert transcode(already, 4, float_output=True) == transcode(already, 4)


def test_what_v3_lacks_is_refused_with_the_step_and_a_remedy(committed: dict[str, bytes]) -> None:
    with pytest.raises(KmodelError, match="not carried over to kmodel v3") as refused:
        transcode(read(committed["c1_v5"]), 3)
    assert "(Pad)" in refused.value.where
    assert "--head" in refused.value.remedy


def edit(model: Kmodel, index: int, **changes: object) -> Kmodel:
    """Return a model with one step changed."""
    steps = list(model.steps)
    steps[index] = replace(steps[index], **changes)  # type: ignore[arg-type]
    return replace(model, steps=tuple(steps))


def registers(model: Kmodel, index: int, **changes: int) -> Kmodel:
    """Return a model with registers of one convolution changed."""
    conv = model.steps[index]
    assert isinstance(conv, KpuConv)
    return edit(model, index, registers=replace(conv.registers, **changes))


def test_registers_are_recomputed_and_checked(committed: dict[str, bytes]) -> None:
    model = read(committed["n3_v5"])
    for name in ("load_time_minus_1", "para_size", "row_switch", "channel_switch", "coef_group", "wb_row_switch",
                 "wb_channel_switch", "wb_group", "channel_bytes_minus_1", "dma_total_bytes_minus_1",
                 "out_channels_per_load_minus_1"):  # fmt: skip
        wrong = registers(model, 1, **{name: getattr(model.convolutions[0].registers, name) + 1})
        with pytest.raises(KmodelError, match=name):
            transcode(wrong, 4)
    with pytest.raises(KmodelError, match="23×35 pixels become 11×17 behind NONE"):
        transcode(registers(model, 1, pool_type=0), 4)


def test_too_many_weight_loads_are_refused(committed: dict[str, bytes]) -> None:
    model = read(committed["n3_v5"])
    wide = registers(model, 1, in_channels_minus_1=1023, out_channels_minus_1=1023)
    with pytest.raises(KmodelError, match="take 342 loads; the KPU counts to 64") as refused:
        transcode(wide, 4)
    assert refused.value.remedy


def test_unsupported_models_are_refused(committed: dict[str, bytes]) -> None:
    model = read(committed["n3_v5"])
    cases = [
        (replace(model, inputs=model.inputs * 2), "2 inputs"),
        (replace(model, inputs=(replace(model.inputs[0], dtype=DType.FLOAT32),)), "the input is float32"),
        (replace(model, steps=(*model.steps, Unknown("gru", 39, b""))), "do not know"),
        (edit(model, 1, batches=2), "several maps"),
        (edit(model, 5, bias=-0.2555), "no integer zero point"),
        (edit(model, 4, source=replace(model.steps[4].inputs[0], start=64)), "downloads something else"),
        (replace(model, steps=(*model.steps[:5], model.steps[4], *model.steps[5:])), "downloaded before"),
    ]
    for wrong, message in cases:
        with pytest.raises(KmodelError, match=message):
            transcode(wrong, 4)
    with pytest.raises(KmodelError, match="v4 over to v3"):
        transcode(read(committed["n3_v4"]), 3)
    with pytest.raises(KmodelError, match="v5 over to v5"):
        transcode(model, 5)


def test_cpu_operators_are_refused_with_what_removes_them(real_files: dict[str, bytes]) -> None:
    with pytest.raises(KmodelError, match="the input is float32"):
        transcode(read(real_files["v5_mnist_stackvm"]), 4)
    with pytest.raises(KmodelError, match="not carried over to kmodel v4") as refused:
        transcode(read(real_files["v5_yolox_nano_224"]), 4)
    assert refused.value.remedy


def test_dataflow_is_checked(committed: dict[str, bytes]) -> None:
    model = read(committed["n3_v4"])
    check_dataflow(model)
    with pytest.raises(KmodelError, match="reads a map at KPU byte 4416 that is not there"):
        check_dataflow(replace(model, steps=model.steps[1:]))
    with pytest.raises(KmodelError, match="unwritten"):
        check_dataflow(edit(model, 2, main_output=None))
    with pytest.raises(KmodelError, match="nothing writes all of the output"):
        check_dataflow(replace(model, steps=model.steps[:-1]))
    conv = model.convolutions[2]
    assert conv.main_output is not None
    with pytest.raises(KmodelError, match="not a multiple of 8"):
        check_dataflow(edit(model, 2, main_output=replace(conv.main_output, start=4)))
    with pytest.raises(KmodelError, match="general SRAM; the K210"):
        check_dataflow(replace(model, main_bytes=7 << 20))


def test_reciprocals_are_exact_where_they_can_be() -> None:
    rng = np.random.default_rng(0)
    scales = np.exp(rng.uniform(-9, 3, 2000)).astype("f4")
    inverted = np.array([np.float32(1) / np.float32(reciprocal(float(scale))) for scale in scales], dtype="f4")
    assert np.abs(inverted / scales - 1).max() <= 2.0**-23  # one step of float32, where no reciprocal is exact
    assert (inverted == scales).mean() > 0.8
    for scale in (np.float32(0.013110097497701645), np.float32(0.010003551840782166)):
        assert np.float32(1) / np.float32(reciprocal(float(scale))) == scale


@pytest.mark.parametrize("limit", [31, 20, 16])
def test_shifts_can_be_capped(committed: dict[str, bytes], limit: int) -> None:
    for name in ("n3_v5", "c1_v5"):
        model = read(committed[name])
        assert max(int(conv.activation.shift.max()) for conv in model.convolutions) > 32
        capped = transcode(model, 4, max_shift=limit)
        assert all(conv.activation.shift.max() <= limit for conv in capped.convolutions)
        assert sum("activation shifts capped" in note for note in capped.notes) == len(capped.convolutions)
        for conv in model.convolutions:
            assert 0 <= cap_shifts(conv, limit).worst_change < (0.05 if limit >= 20 else 1.0)


def test_capping_is_measured_and_leaves_small_shifts_alone(committed: dict[str, bytes]) -> None:
    conv = read(committed["n3_v5"]).convolutions[0]
    assert cap_shifts(conv, 43).conv is conv
    assert cap_shifts(conv, 8).worst_change > cap_shifts(conv, 20).worst_change
    with pytest.raises(KmodelError, match="cannot be capped at 0"):
        cap_shifts(conv, 0)


def test_steps_that_only_v5_has_cannot_be_written(committed: dict[str, bytes]) -> None:
    model = read(committed["c1_v5"])
    assert not any(isinstance(step, Conv2d | Slice) for step in model.steps)
    assert any(isinstance(step, Pad | Quantise) for step in model.steps)
    carried = transcode(model, 4)
    assert {type(step).__name__ for step in carried.steps} == {
        "KpuConv", "DequantiseV4", "Reduce", "Pad", "QuantiseV4", "Upload", "Slice", "Copy",
    }  # fmt: skip
    assert carried.notes == ("step 10 (Quantise): v4 rounds halves away from zero where v5 rounds them to even",)
