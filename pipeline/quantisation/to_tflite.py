"""Keras → float TFLite, and its predictions. (Child process only.)

The file stays N×H×W×C with a batch of 1, as nncase's importer wants; its ``input_layout="NCHW"`` spares the transpose.
ZeroPadding2D followed by a VALID convolution of stride 2 is left as it is, because nncase folds that pair into the
KPU's own padding (nncase 1.9.0.20230322), while TensorFlow's SAME pads on one side only and costs two CPU operators.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.errors import ToolError

_BATCH = 64


def to_tflite(model: Any) -> bytes:
    """Return ``model`` as a float TFLite file with a batch of 1.

    Raises:
        ToolError: the converter failed, or wrote an operator outside TFLite's built-in set.
    """
    image = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="image")
    function = tf.function(lambda image: model(image, training=False)).get_concrete_function(image)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    try:
        return bytes(converter.convert())
    except Exception as error:
        raise ToolError(
            "the TFLite converter refused the network",
            where="network",
            remedy="see its last lines; `kpufit check` says what the KPU can do with each layer",
            log=str(error),
        ) from error


def tflite_predict(tflite: bytes, inputs: NDArray[np.float32], *, threads: int = 1) -> NDArray[np.float32]:
    """Return the outputs of a float TFLite file for ``inputs`` (float32 N×H×W×C, as the network takes them)."""
    interpreter = tf.lite.Interpreter(model_content=tflite, num_threads=threads or None)
    source, output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    results = []
    for start in range(0, len(inputs), _BATCH):
        batch = inputs[start : start + _BATCH]
        interpreter.resize_tensor_input(source["index"], batch.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], batch)
        interpreter.invoke()
        results.append(interpreter.get_tensor(output["index"]).copy())
    return np.concatenate(results)
