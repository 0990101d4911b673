"""TFLite and Keras files → ONNX through tf2onnx. Runs in the importing process, where TensorFlow may be imported."""

from __future__ import annotations

import importlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from pipeline.errors import NetworkError
from pipeline.network.importers.job import Job

_OPSET = 13
_FEW_CHANNELS = 4
"""More than an image has."""
_SAFE_PACKAGES = ("builtins", "keras", "tf_keras", "tensorflow")


def convert_tflite(job: Job, target: Path) -> None:
    """Write the network of a TFLite file to ``target``.

    Raises:
        NetworkError: it cannot be read, is quantised, or takes another image.
    """
    import tensorflow as tf  # noqa: PLC0415
    import tf2onnx  # noqa: PLC0415

    try:
        interpreter = tf.lite.Interpreter(model_content=Path(job.file).read_bytes())
        inputs = interpreter.get_input_details()
        outputs = interpreter.get_output_details()
    except (ValueError, RuntimeError) as error:
        raise NetworkError(
            f"is no TFLite file, or damaged ({_line(error)})", where=job.file, remedy="copy or convert it again"
        ) from error
    if len(inputs) != 1:
        raise NetworkError(f"{len(inputs)} inputs instead of one image", where=job.file)
    kinds = {detail["dtype"].__name__ for detail in (*inputs, *outputs)}
    if kinds != {"float32"}:
        raise NetworkError(
            f"is quantised (inputs and outputs are {', '.join(sorted(kinds))})",
            where=job.file,
            remedy="give the float TFLite file: kpufit quantises it in the KPU's own scheme",
        )
    shape = tuple(int(size) for size in inputs[0]["shape"][1:])
    turned = [inputs[0]["name"]] if _is_nhwc(shape, job) else None
    model, _ = tf2onnx.convert.from_tflite(job.file, opset=_OPSET, inputs_as_nchw=turned)
    _refuse_quantised(model, job.file)
    for node in model.graph.node:
        node.name = short_name(node.name, node.op_type)
    target.write_bytes(model.SerializeToString())


def convert_keras(job: Job, target: Path) -> None:
    """Write the network of a Keras file to ``target``.

    Raises:
        NetworkError: it cannot be read, holds code, has layers of the user's own, or takes another image.
    """
    version, config = _keras_config(Path(job.file))
    _refuse_code(config, job.file)
    import tensorflow as tf  # noqa: PLC0415
    import tf2onnx  # noqa: PLC0415

    keras = _keras(version)
    try:
        network = keras.models.load_model(job.file, compile=False)
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise NetworkError(
            f"cannot be loaded ({_line(error)})",
            where=job.file,
            remedy="layers of one's own cannot be read: export the network to ONNX and give that file",
        ) from error
    shape = network.input_shape
    if isinstance(shape, list) or len(shape) != 4:
        raise NetworkError(f"its input {shape} is not one image", where=job.file)
    fixed = _fixed(shape[1:], job)
    turned = ["image"] if _is_nhwc(fixed, job) else None
    signature = tf.TensorSpec((None, *fixed), tf.float32, name="image")
    function = tf.function(lambda image: network(image, training=False))
    model, _ = tf2onnx.convert.from_function(function, [signature], opset=_OPSET, inputs_as_nchw=turned)
    target.write_bytes(model.SerializeToString())


def _fixed(shape: tuple[int | None, ...], job: Job) -> tuple[int, ...]:
    """Return a Keras input without batch, open sizes taken from the job's image.

    Raises:
        NetworkError: a size is open and there is no image to take it from.
    """
    if job.image is None:
        if None in shape:
            raise NetworkError(
                f"its input {shape} leaves the image's size open",
                where=job.file,
                remedy="save the network with a fixed input size, or export it to ONNX with one",
            )
        return tuple(size for size in shape if size is not None)
    channels, height, width = job.image
    nhwc = (height, width, channels)
    return tuple(wanted if size is None else size for size, wanted in zip(shape, nhwc, strict=True))


def _is_nhwc(shape: tuple[int, ...], job: Job) -> bool:
    """Return whether an input is height × width × channels of the wanted image (else the other order).

    Without one, as TensorFlow has it unless only the first size can be a number of channels.

    Raises:
        NetworkError: it is neither.
    """
    if job.image is None:
        return not (shape[0] < shape[-1] and shape[0] <= _FEW_CHANNELS)
    channels, height, width = job.image
    if shape == (height, width, channels):
        return True
    if shape == job.image:
        return False
    raise NetworkError(
        f"takes images of {' × '.join(map(str, shape))}, "
        f"the recipe gives {height} × {width} × {channels} (height × width × channels)",
        where=job.file,
        remedy="set data.image (channels, height, width) to the network's",
    )


def short_name(name: str, operator: str) -> str:
    """Return the layer that a node belongs to, of the list that TFLite's converter makes of all it has fused.

    ``model/relu/Relu;model/bn/FusedBatchNormV3;model/conv2d/BiasAdd`` of a Conv is ``model/conv2d``.
    """
    parts = name.split(";")
    if len(parts) == 1:
        return name
    words = {"Conv": ("conv",), "MatMul": ("dense", "matmul", "fc", "linear")}.get(operator, (operator.lower(),))
    for part in parts:
        steps = part.split("/")
        for index, step in enumerate(steps):
            if any(word in step.lower() for word in words):
                return "/".join(steps[: index + 1])
    return parts[0]


def _refuse_quantised(model: onnx.ModelProto, file: str) -> None:
    weights = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear") and not (
            node.op_type == "DequantizeLinear" and node.input[0] in weights
        ):
            raise NetworkError(
                "computes with quantised numbers inside",
                where=f"{file}: {node.name}",
                remedy="give the float TFLite file: kpufit quantises it in the KPU's own scheme",
            )


def _keras_config(file: Path) -> tuple[str, Any]:
    """Return the version of Keras that wrote ``file``, and the description of the layers in it."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                version = str(json.loads(archive.read("metadata.json"))["keras_version"])
                return version, json.loads(archive.read("config.json"))
        import h5py  # noqa: PLC0415

        with h5py.File(file) as stored:
            if "model_config" not in stored.attrs:
                raise NetworkError(
                    "holds weights alone, without the network",
                    where=str(file),
                    remedy="save the whole network: network.save(path)",
                )
            version = stored.attrs.get("keras_version", "2")
            config = stored.attrs["model_config"]
            return _text(version), json.loads(_text(config))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise NetworkError(
            f"is no Keras file, or damaged ({_line(error)})", where=str(file), remedy="copy or save it again"
        ) from error


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _refuse_code(config: Any, file: str) -> None:
    """Refuse a network that would run code from its file, or from packages other than Keras, when it is loaded."""
    for part in _parts(config):
        name = part.get("class_name")
        settings = part.get("config")
        label = settings.get("name", name) if isinstance(settings, dict) else name
        if name in ("Lambda", "__lambda__", "function"):
            raise NetworkError(
                f"holds Python code ({name} layer), which is not run",
                where=f"{file}: {label}",
                remedy="write it with Keras layers (Rescaling, Reshape, …) or export the network to ONNX",
            )
        package = part.get("module")
        if isinstance(package, str) and package.split(".")[0] not in _SAFE_PACKAGES:
            raise NetworkError(
                f"holds a layer of the package {package}, which is not run",
                where=f"{file}: {label}",
                remedy="export the network to ONNX and give that file",
            )


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping in a Keras configuration."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from _parts(entry)


def _keras(version: str) -> Any:
    """Return the Keras that reads files of ``version``: 3 apart from the older ones that TensorFlow grew up with."""
    return importlib.import_module("keras" if version.startswith("3") else "tf_keras")


def _line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
