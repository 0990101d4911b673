"""Answers and maps of a float TFLite network, by LiteRT's interpreter (which needs no TensorFlow)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from pipeline.errors import ToolError
from pipeline.network.contract import InputContract

_BATCH = 100

_Floats = NDArray[np.float32]


class FloatNetwork:
    """A float TFLite network (input N×H×W×C) that runs on a fixed number of images at a time.

    Args:
        network: the file's bytes.
        batch: images at a time.
        keep_maps: whether ``maps`` is wanted; it is then some times slower.

    Raises:
        ToolError: the interpreter refuses the network.
    """

    def __init__(self, network: bytes, batch: int, *, keep_maps: bool = False) -> None:
        with _refusals():
            self._interpreter = Interpreter(
                model_content=network,
                num_threads=2,
                experimental_preserve_all_tensors=keep_maps,
                # The default delegate runs layers together and keeps nothing of what is between them.
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
                if keep_maps
                else OpResolverType.AUTO,
            )
            self.resize(batch)

    def resize(self, batch: int) -> None:
        """Run on another number of images from now on. Raises ToolError."""
        with _refusals():
            details = self._interpreter.get_input_details()[0]
            self._interpreter.resize_tensor_input(details["index"], [batch, *details["shape"][1:]])
            self._interpreter.allocate_tensors()

    def answers(self, inputs: _Floats) -> _Floats:
        """Return the output for normalised inputs N×C×H×W. Raises ToolError."""
        with _refusals():
            self._run(inputs)
            output: _Floats = self._interpreter.get_tensor(self._interpreter.get_output_details()[0]["index"]).copy()
            return output

    def maps(self, inputs: _Floats) -> dict[int, _Floats]:
        """Return every feature map N×C×H×W between the layers, by the number of its tensor. Raises ToolError."""
        with _refusals():
            self._run(inputs)
        maps = {}
        for details in self._interpreter.get_tensor_details():
            shape = details["shape"]
            if details["dtype"] is not np.float32 or len(shape) != 4 or shape[0] != len(inputs):
                continue
            with suppress(ValueError):  # it names tensors that it never made
                maps[details["index"]] = self._interpreter.get_tensor(details["index"]).transpose(0, 3, 1, 2)
        return maps

    def _run(self, inputs: _Floats) -> None:
        values = np.ascontiguousarray(inputs.transpose(0, 2, 3, 1))
        self._interpreter.set_tensor(self._interpreter.get_input_details()[0]["index"], values)
        self._interpreter.invoke()


def tflite_scores(network: bytes, images: NDArray[np.uint8], contract: InputContract) -> NDArray[np.float32]:
    """Return the answers N×K of a float TFLite network (input N×H×W×C, normalised) to uint8 images N×C×H×W.

    Raises:
        ToolError: the interpreter refuses the network.
    """
    batch = min(_BATCH, len(images))
    runner = FloatNetwork(network, batch)
    answers = []
    for start in range(0, len(images), batch):
        chosen = images[start : start + batch]
        if len(chosen) != batch:
            runner.resize(len(chosen))
        answers.append(runner.answers(contract.normalise(chosen)))
    return np.concatenate(answers).reshape(len(images), -1)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what the interpreter raises into an error that says what to do."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise ToolError(f"LiteRT refuses the network ({error})", remedy="run the `quantise` stage again") from error
