"""Reading an ONNX file that a stranger brings: checked whole, before anything else sees it."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper

from pipeline.errors import NetworkError
from pipeline.network.native import check
from pipeline.network.normal import as_given, into_normal_form, name_nodes
from pipeline.network.opset import IR_VERSION
from pipeline.network.placeholders import drop_values
from pipeline.network.screen import EXPORT, all_nodes, screen
from pipeline.network.weight_values import all_tensors, check_weights


def load_onnx(path: Path, *, weights: bool = True, stored: bool = False, normal: bool = True) -> onnx.ModelProto:
    """Return the network in ``path`` in normal form (see ``normal``): opset 13, one N×C×H×W input, N open.

    Args:
        path: the file.
        weights: whether the values of large weights are wanted. Without, which is for those who ask for shapes alone,
            every large weight of floats or bytes is an initializer with type and dims but no data (see
            ``placeholders``), also where the file computes it.
        stored: with ``weights`` false: whether those weights that the file holds, not computes, keep their values.
        normal: whether in normal form; else as a compiler is given it (see ``normal.as_given``): own opset, batch 1.

    Raises:
        NetworkError: the file is missing, empty, torn or no ONNX; data outside its folder; NaN or infinite weights;
            more than one input, or one without a fixed size; an operator of another vendor. Names file and layer.
    """
    try:
        return _load(path, weights, stored, normal)
    except NetworkError as error:
        if "\n" not in error.what:
            raise
        raise NetworkError(" ".join(error.what.split()), where=error.where, remedy=error.remedy) from error
    except UnicodeDecodeError as error:
        raise NetworkError("holds a name that is no text: damaged", where=str(path), remedy=EXPORT) from error
    except RecursionError as error:
        raise NetworkError("nests graphs or functions too deep", where=str(path), remedy=EXPORT) from error
    except MemoryError as error:
        raise NetworkError(
            "asks for more memory than there is", where=str(path), remedy=f"{EXPORT}; or free memory"
        ) from error


def _load(path: Path, weights: bool, stored: bool, normal: bool) -> onnx.ModelProto:
    model = _parse(path)
    _load_external_data(model, path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.SetInParent()  # ONNX's checker wants one; normal_form judges and infers them
    if 1 <= model.ir_version < IR_VERSION:
        model.ir_version = IR_VERSION  # before 4, every weight had to be an input too; not all exporters cared
    for part in (*model.opset_import, *all_nodes(model)):
        if part.domain == "ai.onnx":
            part.domain = ""  # two names of one; ONNX's checker knows only this
    screen(model, str(path))
    name_nodes(model.graph)
    check(model, str(path))
    check_weights(model, str(path))
    if not (weights or stored):
        drop_values(model.graph)
    form = into_normal_form if normal else as_given
    return form(model, where=str(path), weights=weights)


def _parse(path: Path) -> onnx.ModelProto:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NetworkError(
            f"cannot be read ({error.strerror})",
            where=str(path),
            remedy="check the path; it is relative to the project",
        ) from error
    if not content:
        raise NetworkError("is empty", where=str(path), remedy=EXPORT)
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise NetworkError("is truncated, or not an ONNX file", where=str(path), remedy=EXPORT) from error
    if not model.graph.node or not model.opset_import:
        raise NetworkError("holds no network: truncated, or not an ONNX file", where=str(path), remedy=EXPORT)
    return model


def _load_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Load weights kept in other files, which must lie in the model's folder."""
    folder = path.resolve().parent
    found = False
    for tensor in all_tensors(model.graph, model.functions):
        if not external_data_helper.uses_external_data(tensor):
            continue
        found = True
        location = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        file = (folder / location).resolve()
        if not location or not file.is_relative_to(folder):
            raise NetworkError(
                f"weight {tensor.name!r} lies outside the model's folder ({location!r})",
                where=str(path),
                remedy="save the model as one file: onnx.save(model, path, save_as_external_data=False)",
            )
        if not file.is_file():
            raise NetworkError(
                f"weight {tensor.name!r} lies in {location!r}, which is missing",
                where=str(path),
                remedy="copy that file beside the model, or save the model as one file",
            )
    if found:
        try:
            onnx.load_external_data_for_model(model, str(folder))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise NetworkError(
                f"its weights in other files cannot be read ({_first_line(error)})", where=str(path), remedy=EXPORT
            ) from error


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
