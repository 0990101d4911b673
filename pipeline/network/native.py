"""ONNX's own C++ (checker, shape inference, converter, inliner), its errors made ours: file, layer, one line, remedy.

It ends the process on some damaged files: ``screen`` refuses those before any of this is called. On others it takes all
memory (a shape of 2⁴⁰ dimensions), which a limit for the time of the call turns into an error.
"""

from __future__ import annotations

import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import onnx
import onnx.inliner
from onnx import version_converter

from pipeline.errors import NetworkError
from pipeline.network.screen import EXPORT, screen_numbers

_Result = TypeVar("_Result")

_LEAST_MEMORY = 256 << 20
"""Bytes that a call may take beyond what the process has; for a large network this many times its own:"""
_TIMES_THE_MODEL = 16

_INFERENCE = re.compile(r"\(op_type:(?P<op>[^,)]*)(?:, node name: (?P<layer>[^)]*))?\): (?P<reason>.*)")
_CHECKER = re.compile(r"Bad node spec for node\. Name: (?P<layer>.*) OpType:")


def check(model: onnx.ModelProto, where: str) -> None:
    """Check ``model`` against the standard, shapes aside.

    Raises:
        NetworkError: it is not valid.
    """
    _call(model, lambda: onnx.checker.check_model(model), "is not valid ONNX", where, EXPORT)


def infer(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Return ``model`` with the shapes of all values that can be told.

    Raises:
        NetworkError: a layer does not fit what it is given.
    """
    screen_numbers(model.graph, where)
    return _call(
        model,
        lambda: onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True),
        "its shapes contradict each other",
        where,
        "export the model again; onnx.checker.check_model(path, full_check=True) shows the layer",
    )


def infer_open(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Return ``model``, whose batch is open, with shapes; those that an open batch hides stay unknown.

    Raises:
        NetworkError: shape inference fails.
    """
    return _call(model, lambda: onnx.shape_inference.infer_shapes(model), "its shapes cannot be told", where, EXPORT)


def convert(model: onnx.ModelProto, version: int, target: int, where: str) -> onnx.ModelProto:
    """Return ``model``, which is of opset ``version``, in opset ``target``.

    Raises:
        NetworkError: an operator has no other form, or its form is damaged.
    """
    screen_numbers(model.graph, where)
    return _call(
        model,
        lambda: version_converter.convert_version(model, target),
        f"opset {version} cannot be converted to {target}",
        where,
        f"export the model again with opset {target}",
    )


def inline(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Return ``model`` with its local functions written out.

    Raises:
        NetworkError: a function does not fit its call.
    """
    return _call(
        model,
        lambda: onnx.inliner.inline_local_functions(model),
        "its local functions cannot be written out",
        where,
        "export the model without local functions",
    )


def _call(model: onnx.ModelProto, function: Callable[[], _Result], what: str, where: str, remedy: str) -> _Result:
    try:
        with _limited_memory(max(_LEAST_MEMORY, _TIMES_THE_MODEL * model.ByteSize())):
            return function()
    except MemoryError as error:
        raise NetworkError(f"{what} (it would take all memory)", where=where, remedy=remedy) from error
    except Exception as error:  # whatever C++ throws: ONNX's three kinds, length_error, bytes that are no text
        layer, reason = _layer_and_reason(str(error) or type(error).__name__)
        raise NetworkError(
            f"{what} ({reason})", where=f"{where}: {layer}" if layer else where, remedy=remedy
        ) from error


def _layer_and_reason(message: str) -> tuple[str, str]:
    """Return the first layer that ONNX complains of ("" where it names none) and why, in one line."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    for line in lines:
        if found := _INFERENCE.search(line):
            return found["layer"] or "", f"{found['op']}: {found['reason']}"
    found = next((match for line in lines if (match := _CHECKER.search(line))), None)
    return found["layer"] if found else "", lines[0] if lines else "no reason given"


@contextmanager
def _limited_memory(allowed: int) -> Iterator[None]:
    """Let the process take ``allowed`` more bytes of address space; a lower limit that is already set stays."""
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    held = Path("/proc/self/statm")
    if held.is_file():  # Linux
        limit = int(held.read_text().split()[0]) * resource.getpagesize() + allowed
        if all(given == resource.RLIM_INFINITY or limit < given for given in (before, hard)):
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))
