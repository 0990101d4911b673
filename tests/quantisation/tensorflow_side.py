"""The part of the tests that needs TensorFlow, run once in a process of its own on a folder of networks.

``python tensorflow_side.py FOLDER NOTES_FD`` writes ``FOLDER/found.json``: for each network the layers it was lifted
to, or why not; and for fake quantisation the grid that it gave.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from tf_keras import layers

from pipeline.errors import NetworkError
from pipeline.quantisation.convert_tf import convert
from pipeline.quantisation.kpu_scheme import fake_quantised, range_observer, set_ranges, wrapped_layers
from pipeline.quantisation.lift_keras import lift
from pipeline.quantisation.qat import Images, train
from pipeline.quantisation.settings import Settings
from pipeline.quantisation.to_tflite import tflite_predict, to_tflite


def main(folder: Path) -> None:
    images = np.load(folder / "images.npy").transpose(0, 2, 3, 1)
    inputs = np.load(folder / "inputs.npy").transpose(0, 2, 3, 1)
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.onnx")):
        found[path.stem] = examine(path, images, inputs)
    found["divergence"] = diverge(folder / "mobile.onnx", images)
    (folder / "found.json").write_text(json.dumps(found))


def examine(path: Path, images: Any, inputs: Any) -> dict[str, Any]:
    try:
        names = [node.name for node in onnx.load(path).graph.node]
        model = lift(convert(path, images), names)
    except NetworkError as error:
        return {"refused": str(error)}
    np.save(path.with_suffix(".keras.npy"), model(inputs).numpy())
    tflite = to_tflite(model)
    path.with_suffix(".tflite").write_bytes(tflite)
    np.save(path.with_suffix(".tflite.npy"), tflite_predict(tflite, inputs))
    return {"layers": [type(layer).__name__ for layer in model.layers], "fake": fake(model, inputs, path)}


def diverge(path: Path, images: Any) -> dict[str, Any]:
    """Training with a learning rate that no network survives."""
    model = lift(convert(path, images))
    given = model.get_weights()
    data = Images(np.ascontiguousarray(images), np.arange(len(images)) % 4)
    settings = Settings(epochs=1, batch=8, lr=1e38)
    outcome = train(model, data, data, images[:8], lambda chosen: chosen.astype(np.float32) / 255, settings, print)
    kept = all(np.array_equal(now, then) for now, then in zip(model.get_weights(), given, strict=True))
    return {"diverged": outcome.diverged, "epochs": len(outcome.epochs), "kept": kept}


def fake(model: Any, inputs: Any, path: Path) -> dict[str, Any]:
    """How many distinct values each fake-quantised output has, and the kernels beside their quantised form."""
    quantised = fake_quantised(model)
    set_ranges(quantised, range_observer(model)(inputs))
    np.save(path.with_suffix(".fake.npy"), quantised(inputs).numpy())
    outputs, kernels = {}, {}
    for name, wrapper in wrapped_layers(quantised).items():
        if wrapper.quantize_config.output:
            values = quantised.get_layer(wrapper.name).output
            reached = tf.keras.Model(quantised.input, values)(inputs).numpy()
            outputs[name] = {"values": len(np.unique(reached)), "zero": bool(np.isclose(reached, 0).any())}
        if wrapper.quantize_config.kernel:
            variable, quantizer, _ = wrapper._weight_vars[0]
            depthwise = isinstance(wrapper.layer, layers.DepthwiseConv2D)
            kernel, seen = variable.numpy(), quantizer(variable, False, {}).numpy()
            rows = kernel.reshape(-1, kernel.shape[2 if depthwise else -1])
            kernels[name] = {"given": rows.tolist(), "seen": seen.reshape(rows.shape).tolist()}
    return {"outputs": outputs, "kernels": kernels}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
