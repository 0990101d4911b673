"""Answers of a float TFLite network, by LiteRT's interpreter (which needs no TensorFlow)."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from pipeline.errors import ToolError
from pipeline.network.contract import InputContract

_BATCH = 100


def tflite_scores(network: bytes, images: NDArray[np.uint8], contract: InputContract) -> NDArray[np.float32]:
    """Return the answers N×K of a float TFLite network (input N×H×W×C, normalised) to uint8 images N×C×H×W.

    Raises:
        ToolError: the interpreter refuses the network.
    """
    try:
        interpreter = Interpreter(model_content=network, num_threads=2)
        batch = min(_BATCH, len(images))
        _resize(interpreter, batch)
        answers = []
        for start in range(0, len(images), batch):
            chosen = images[start : start + batch]
            if len(chosen) != batch:
                _resize(interpreter, len(chosen))
            inputs = np.ascontiguousarray(contract.normalise(chosen).transpose(0, 2, 3, 1))
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], inputs)
            interpreter.invoke()
            answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).copy())
    except (ValueError, RuntimeError) as error:
        raise ToolError(f"LiteRT refuses the network ({error})", remedy="run the `quantise` stage again") from error
    scores: NDArray[np.float32] = np.concatenate(answers).reshape(len(images), -1)
    return scores


def _resize(interpreter: Interpreter, batch: int) -> None:
    details = interpreter.get_input_details()[0]
    interpreter.resize_tensor_input(details["index"], [batch, *details["shape"][1:]])
    interpreter.allocate_tensors()
