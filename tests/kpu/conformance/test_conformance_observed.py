"""What nncase 1.9 really does with every case: the table of kpu.md §3, proven by placement and by numbers."""

from __future__ import annotations

import numpy as np
import pytest
from conformance_cases import CASES
from conformance_observed import Observed
from conformance_probe import outputs_of

pytestmark = [pytest.mark.nncase, pytest.mark.timeout(600)]

RIGHT = 0.045
"""Relative error below which uint8 arithmetic explains the difference."""

WRONG = (
    # depthwise with multiplier (without a Clip nncase reads past the bias: other numbers each time, or SIGSEGV)
    "depthwise-multiplier", "depthwise-multiplier-s2", "depthwise-multiplier-between",
    # a slice moved into a convolution that has a stride itself
    "depthwise-s2-clip-1x1-s2",
    # some rows or columns, quantised anew
    "split-rows-unequal", "split-columns-unequal", "slice-rows-unequal", "slice-columns-unequal",
    # rows that are computed and cropped, further out than the map's
    "transposed-3x3-between-ring-linear", "transposed-3x3-between-ring-clip", "transposed-3x3-between-ring-leaky",
    *(f"conv-{pads}-ring-{act}" for pads in ("valid", "pads-0011", "pads-1100") for act in ("linear", "leaky")),
    # a Clip behind a ConvTranspose
    "transposed-3x3-s2-clip", "after-transposed-clip",
    # f(minimum) is not the lower end of the range: frequent minima, because a Clip came first
    "add-constant", "add-constant-conv", "max-constant", "act-clip-above-zero", "clip-transposed",
    "unary-sqrt", "unary-exp", "unary-abs", "unary-neg", "unary-ceil", "unary-sin", "unary-cos", "unary-sign",
    "unary-sqrt-conv",
    # sixteen segments do not follow the function
    "act-exp", "act-exp-conv", "act-softsign", "act-softsign-conv", "act-leaky-steep",
    # an operator with other semantics than ONNX's
    "resize-linear-half-pixel", "resize-linear-half-pixel-conv", "resize-cubic", "resize-nearest-half-pixel",
    "resize-nearest-align-corners", "resize-nearest-pytorch-half-pixel", "pool-average-3x3-counting",
    # padded with zeros behind what is computed before the padding
    "after-pad-sigmoid", "after-pad-add-constant",
    # quantisation
    "conv-weights-1e-4", "conv-weights-1e-6",
)  # fmt: skip


def compiled(observed: Observed, *prefixes: str) -> list[str]:
    """The names of the cases that compiled and ran, and begin with one of the prefixes."""
    return [name for name, seen in observed.cases.items() if seen.outcome == "compiled" and name.startswith(prefixes)]


def test_nothing_is_lost(observed: Observed) -> None:
    assert list(observed.cases) == list(CASES)
    assert {seen.outcome for seen in observed.cases.values()} == {"compiled", "refused", "fails at run time"}
    for name, seen in observed.cases.items():
        assert (seen.outcome == "compiled") == (not seen.message), name
        assert not any("undecoded" in op for op in seen.cpu_ops), name
        if seen.outcome == "compiled":
            assert seen.shapes == seen.true_shapes, name
            assert seen.relative_error is None or np.isfinite(seen.relative_error), name
        true = np.load(observed.folder / f"{name}.true.npz")
        assert all(np.isfinite(true[output]).all() for output in true.files), name


def test_wrong_numbers_are_proven(observed: Observed) -> None:
    for name in WRONG:
        seen = observed[name]
        assert seen.outcome == "compiled", name
        assert seen.relative_error is not None
        assert seen.relative_error > RIGHT, name


def test_all_other_numbers_are_right(observed: Observed) -> None:
    """But for gates whose only sample may be the minimum, and integers that a step turns over."""
    excused = ("squeeze-excite", "after-squeeze-excite", "unary-", "arg-max-map", "reduce-logsumexp")
    for name in compiled(observed, ""):
        error = observed[name].relative_error
        if name not in WRONG and not name.startswith(excused) and error is not None:
            assert error < (0.1 if name == "after-average-pool-head" else RIGHT), name


@pytest.mark.parametrize("name", ["conv-3x3", "conv-1x1", "conv-3x3-s2-clip", "conv-1x1-s2-clip", "conv-3x3-leaky"])
def test_the_kpus_own_convolutions(observed: Observed, name: str) -> None:
    assert (observed[name].kpu, observed[name].cpu_ops) == (1, ("dequantize",))


@pytest.mark.parametrize(
    "name",
    ["conv-5x5", "conv-7x7", "conv-1x3", "conv-3x1", "conv-2x2", "conv-grouped", "depthwise-5x5", "conv-dilated-s2"],
)
def test_kernels_and_groups_that_the_kpu_lacks(observed: Observed, name: str) -> None:
    assert (observed[name].kpu, observed[name].cpu_ops) == (0, ("dequantize", "conv2d"))
    assert observed[name].relative_error < 1e-5


@pytest.mark.parametrize("name", ["conv-s3", "conv-s4", "conv-1x1-s3", "depthwise-s3", "conv-s2-by-1"])
def test_other_strides_run_at_full_resolution(observed: Observed, name: str) -> None:
    """Unlike the row in kpu.md, which names stride 3 among those of the CPU."""
    assert (observed[name].kpu, observed[name].cpu_ops) == (1, ("dequantize", "slice"))


def test_dilation_is_space_to_batch(observed: Observed) -> None:
    ops = observed["conv-dilated"].cpu_ops
    assert observed["conv-dilated"].kpu == 1
    assert (ops.count("pad"), ops.count("transpose")) == (1, 2)


def test_depthwise_with_multiplier_is_wrong(observed: Observed) -> None:
    for name in ("depthwise-multiplier", "depthwise-multiplier-s2", "depthwise-multiplier-between"):
        assert observed[name].cosine < 0.9
        assert "conv2d" not in observed[name].cpu_ops


def test_relu_blocks_the_motion_of_a_slice(observed: Observed) -> None:
    for name in ("depthwise-s2-1x1", "depthwise-s2-clip-1x1", "depthwise-s2-clip0-1x1"):
        assert "slice" not in observed[name].cpu_ops
        assert observed[name].heap_bytes == 512
    assert "slice" in observed["depthwise-s2-relu-1x1"].cpu_ops
    assert observed["depthwise-s2-relu-1x1"].heap_bytes > 2000


def test_activations_fold(observed: Observed) -> None:
    for act in ("clip", "leaky", "sigmoid", "tanh", "silu", "hardswish-clip", "hardswish-hardsigmoid", "hardsigmoid",
                "elu", "mish", "hardswish-op"):  # fmt: skip
        assert (observed[f"act-{act}"].kpu, observed[f"act-{act}"].cpu_ops) == (1, ("dequantize",)), act


@pytest.mark.parametrize(
    ("name", "error"), [("act-silu", 0.25), ("act-hardswish-hardsigmoid", 0.3), ("act-mish", 0.25)]
)
def test_the_minimum_of_a_function_that_turns_is_wrong(observed: Observed, name: str, error: float) -> None:
    """Where the convolution gives its least value, f is near 0 and nncase answers the least value of f."""
    given, true = outputs_of(observed.folder, name)
    worst = np.abs(given[0] - true[0]).argmax()
    assert true[0].flat[worst] > -0.1
    assert given[0].flat[worst] < -error
    assert given[0].flat[worst] == given[0].min()
    assert observed["act-leaky"].largest_error < 0.1


def test_prelu_and_gelu(observed: Observed) -> None:
    for name in ("act-prelu", "depthwise-prelu"):
        assert "binary" in observed[name].cpu_ops
        assert observed[name].kpu == 3  # a sum, which the KPU takes, of two activations and a product
    assert observed["act-prelu-shared"].cpu_ops == ("dequantize",)
    assert observed["act-gelu"].outcome == "refused"
    assert "unary_erf" in observed["act-gelu"].message


def test_clip_needs_a_convolution_before_it(observed: Observed) -> None:
    for context in ("input", "concat", "resize", "cpu-pool", "global-pool", "split", "slice", "pad", "softmax"):
        assert observed[f"after-{context}-clip"].outcome == "refused", context
        assert "[Clamp] is not found in module stackvm" in observed[f"after-{context}-clip"].message
        assert observed[f"after-{context}-relu"].outcome == "compiled", context


def test_clip_after_gemm_compiles(observed: Observed) -> None:
    """Unlike the row in kpu.md: a Gemm is a 1×1 convolution. So does one behind a binary operator."""
    for name in ("clip-gemm", "clip-gemm-gemm", "clip-gemm-1025", "after-add-clip", "after-mul-clip"):
        assert observed[name].outcome == "compiled"
        assert observed[name].relative_error < RIGHT


def test_nothing_elementwise_may_follow_a_fused_pool(observed: Observed) -> None:
    for pool in ("pool", "average-pool"):
        for act in ("clip", "relu", "leaky", "sigmoid", "silu", "prelu", "mul-constant", "add-constant"):
            assert observed[f"after-{pool}-{act}"].outcome == "refused", (pool, act)
    assert observed["pool-max-2x2-relu-before"].outcome == "compiled"


def test_residual_sums(observed: Observed) -> None:
    assert observed["add"].convs[-1] == "1x1 16→8 @16x16"
    assert observed["add-512"].convs[-1].startswith("1x1 1024→512")
    assert observed["add-513"].cpu_ops[-1] == "conv2d"
    assert observed["add-map-2"].cpu_ops[-1] == "conv2d"


def test_float_operators(observed: Observed) -> None:
    assert observed["concat-conv"].cpu_ops == ("dequantize", "dequantize", "quantize", "dequantize")
    assert "resize_image" in observed["resize-nearest-asymmetric"].cpu_ops
    assert "reduce" in observed["global-average-pool"].cpu_ops
    assert "softmax" in observed["softmax"].cpu_ops


def test_heads(observed: Observed) -> None:
    for kind in ("gemm", "matmul", "conv"):
        fits, not_ = observed[f"head-{kind}-1024"], observed[f"head-{kind}-1025"]
        assert (fits.convs[-1], "pad" in fits.cpu_ops) == ("1x1 1024→10 @4x4", True)
        assert (not_.kpu, "conv2d" in not_.cpu_ops) == (2, True)
        assert fits.relative_error > 2 * not_.relative_error


def test_squeeze_and_excitation_silences_a_channel(observed: Observed) -> None:
    """The gate that reads the least value answers 0 and not the sigmoid of it: a whole map is lost."""
    given, true = outputs_of(observed.folder, "squeeze-excite-16-2")
    assert observed["squeeze-excite-16-2"].relative_error > 0.1
    silent = np.abs(given[0]).max(axis=(-1, -2)) == 0
    assert silent.any()
    assert np.abs(true[0]).max(axis=(-1, -2))[silent].max() > 0.5


def test_pools(observed: Observed) -> None:
    for name in ("pool-max-2x2", "pool-max-4x4", "pool-average-2x2", "pool-average-4x4", "pool-max-2x2-s1-same",
                 "pool-two-readers"):  # fmt: skip
        assert "reduce_window2d" not in observed[name].cpu_ops, name
    for name in ("pool-max-3x3-s2", "pool-after-depthwise", "conv-read-beside-pool", "pool-after-stride-2",
                 "pool-max-2x2-s1", "pool-average-2x2-s1"):  # fmt: skip
        assert "reduce_window2d" in observed[name].cpu_ops, name
    for name in ("pool-odd-ceil", "pool-3x3-ceil", "pool-max-4x4-s2"):
        assert "shape mismatch" in observed[name].message, name


def test_odd_sizes_and_tf_padding(observed: Observed) -> None:
    assert observed["conv-s2-odd"].cpu_ops.count("pad") == 1
    assert observed["conv-tf-same"].cpu_ops.count("pad") == 2
    assert observed["conv-pads-1100-s2"].cpu_ops == ("dequantize",)


def test_transposed_convolutions(observed: Observed) -> None:
    assert (observed["transposed-3x3-s2"].kpu, "pad" in observed["transposed-3x3-s2"].cpu_ops) == (1, True)
    for name in ("transposed-2x2-s2", "transposed-4x4-s2", "transposed-2x2-after-conv", "transposed-3x3-s2-pads-0"):
        assert observed[name].outcome == "refused", name


def test_many_channels(observed: Observed) -> None:
    for name in ("conv-out-1025", "conv-in-1025", "depthwise-1025"):
        assert (observed[name].kpu, "conv2d" in observed[name].cpu_ops) == (0, True), name


def test_batch_norm_is_four_operators(observed: Observed) -> None:
    for name in ("batch-norm", "conv-batch-norm", "batch-norm-conv", "conv-batch-norm-clip"):
        assert observed[name].cpu_ops.count("binary") == 4, name


def test_a_part_at_an_offset_fails_at_run_time(observed: Observed) -> None:
    """When its range is the whole's, so that the KPU reads the second half in place, beside another reader."""
    for name in ("split-add-second", "split-concat-second", "split-mul-second", "split-c2f"):
        assert (observed[name].outcome, observed[name].message[-16:]) == ("fails at run time", "Invalid argument")
    for name in ("split-add-first", "split-add-second-unequal", "split-c2f-unequal", "split-both", "split-second"):
        assert observed[name].outcome == "compiled", name


def test_feature_map_memory(observed: Observed) -> None:
    for name in ("conv-16-at-240x320", "conv-64-at-128x128", "fragmentation"):
        assert "ran out of memory" in observed[name].message, name
    assert observed["conv-3-to-16-at-240x320"].outcome == "compiled"


def test_weight_loads_do_not_fit_their_register(observed: Observed) -> None:
    assert (observed["conv-loads-64"].loads_needed, observed["conv-loads-64"].loads_encoded) == (64, 64)
    assert (observed["conv-loads-65"].loads_needed, observed["conv-loads-65"].loads_encoded) == (65, 1)
    assert (observed["conv-loads-86"].loads_needed, observed["conv-loads-86"].loads_encoded) == (86, 22)


def test_resizes(observed: Observed) -> None:
    assert 0.2 < observed["resize-linear-half-pixel"].relative_error < 0.4
    for name in ("resize-linear-asymmetric", "resize-linear-align-corners", "resize-linear-pytorch-half-pixel"):
        assert observed[name].relative_error < RIGHT, name
