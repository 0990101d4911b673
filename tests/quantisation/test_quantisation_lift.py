"""The lift to Keras layers, TFLite and fake quantisation: all judged in one TensorFlow process."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from quantisation_networks import CONTRACT, make

from pipeline.quantisation.convert_tf import sample_images

LIFTED = ["plain", "residual", "mobile", "flattened", "assorted"]


@pytest.mark.parametrize("name", LIFTED)
@pytest.mark.parametrize("form", ["keras", "tflite"])
def test_outputs_equal_onnxruntimes(
    name: str, form: str, in_tensorflow: dict[str, Any], images: NDArray[np.uint8]
) -> None:
    assert "refused" not in in_tensorflow[name], in_tensorflow[name]
    session = onnxruntime.InferenceSession(make(name).SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"image": CONTRACT.normalise(images)})[0]
    folder: Path = in_tensorflow["folder"]
    seen = np.load(folder / f"{name}.{form}.npy")
    assert np.abs(seen - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("name", LIFTED)
def test_only_keras_layers_are_left(name: str, in_tensorflow: dict[str, Any]) -> None:
    layers = in_tensorflow[name]["layers"]
    assert not [layer for layer in layers if "Lambda" in layer]
    assert sum(layer in ("Conv2D", "DepthwiseConv2D", "Dense") for layer in layers) == sum(
        node.op_type in ("Conv", "Gemm") for node in make(name).graph.node
    )


def test_stride_two_keeps_its_padding_apart(in_tensorflow: dict[str, Any]) -> None:
    layers = in_tensorflow["mobile"]["layers"]
    assert [after for before, after in itertools.pairwise(layers) if before == "ZeroPadding2D"] == [
        "Conv2D",
        "DepthwiseConv2D",
    ]


def test_what_cannot_be_lifted_is_named(in_tensorflow: dict[str, Any]) -> None:
    refused = in_tensorflow["slicing"]["refused"]
    known = [node.name for node in make("slicing").graph.node]
    assert any(f"behind {name}" in refused for name in ["the input", *known])
    assert "cannot be carried" in refused
    assert "remedy" in refused


def kernels(found: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [
        (f"{name}/{layer}", np.array(kernel["given"]), np.array(kernel["seen"]))
        for name in LIFTED
        for layer, kernel in found[name]["fake"]["kernels"].items()
    ]


def test_weights_are_on_nncases_grid(in_tensorflow: dict[str, Any]) -> None:
    """Scale 2·max/255 an output channel, codes 0 to 255 around 128 (nncase v1.9.0, quantizer::get_quant_param)."""
    checked = 0
    for name, given, seen in kernels(in_tensorflow):
        scale = 2 * np.abs(given).max(axis=0) / 255
        codes = np.clip(np.floor(given / scale + 0.5) + 128, 0, 255)
        exact = np.abs(given / scale % 1 - 0.5) > 1e-3  # ties are rounded either way
        np.testing.assert_allclose(seen[exact], ((codes - 128) * scale)[exact], atol=1e-6, err_msg=name)
        checked += 1
    assert checked > 15


def test_activations_have_at_most_256_values_and_hold_zero(in_tensorflow: dict[str, Any]) -> None:
    for name in LIFTED:
        outputs = in_tensorflow[name]["fake"]["outputs"]
        assert outputs
        assert all(1 < output["values"] <= 256 for output in outputs.values()), name


def test_a_convolution_and_its_activation_have_one_quantised_output(in_tensorflow: dict[str, Any]) -> None:
    outputs = in_tensorflow["plain"]["fake"]["outputs"]
    assert not [name for name in outputs if name.startswith("conv")]
    assert [name for name in outputs if name.startswith("relu")]
    assert "dense_0" in outputs


@pytest.mark.parametrize("name", LIFTED)
def test_fake_quantisation_stays_close_to_the_network(name: str, in_tensorflow: dict[str, Any]) -> None:
    folder: Path = in_tensorflow["folder"]
    exact, fake = np.load(folder / f"{name}.keras.npy"), np.load(folder / f"{name}.fake.npy")
    error = np.linalg.norm(exact - fake) / np.linalg.norm(exact)
    assert 0 < error < 0.1


def test_training_that_diverges_says_so_and_leaves_the_weights(in_tensorflow: dict[str, Any]) -> None:
    found = in_tensorflow["divergence"]
    assert "the loss became" in found["diverged"]
    assert found["epochs"] == 0
    assert found["kept"]


@pytest.mark.parametrize("shape", [(3, 12, 12, 1), (40, 200, 90, 3), (1, 4, 4, 4)])
def test_onnx2tfs_test_images_are_made_from_any_calibration_set(shape: tuple[int, ...]) -> None:
    calibration = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    images = sample_images(calibration)
    assert images.shape == (20, 128, 128, 3)
    assert images.dtype == np.float32
    assert 0 <= images.min() < images.max() <= 1
    assert images[0, 0, 0, 0] == calibration[0, 0, 0, 0] / np.float32(255)
