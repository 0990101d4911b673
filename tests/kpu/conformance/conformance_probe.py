"""What the real nncase 1.9 does with networks: compiled or not, what runs where, and how wrong the numbers are.

``.venv/bin/python tests/kpu/conformance/conformance_probe.py RESULT.json [FOLDER] [NAME...]`` probes every case of the
suite, or the named ones, and leaves the networks, kmodels and outputs in FOLDER.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from pipeline.errors import KmodelError
from pipeline.kmodel import stackvm, v5_container
from pipeline.kmodel.read import read
from pipeline.kmodel.stackvm_isa import DIALECTS
from pipeline.kmodel.steps import KpuConv, Unknown

PYTHON = Path(__file__).parents[3] / ".venv-nncase" / "bin" / "python"
WORKER = Path(__file__).with_name("conformance_worker.py")
IMAGES = 4
INPUT_RANGE = (-2.0, 127 / 64)
"""Of the image, whose uint8 q stands for (q − 128)/64 exactly: activations of both signs, and no rounding of zero."""
TIME_LIMIT = 300
"""Seconds for all networks together."""

Outcome = Literal["compiled", "refused", "crashed", "fails at run time"]
_FAILED: dict[int, Outcome] = {1: "refused", 2: "fails at run time"}


@dataclass(frozen=True)
class Observation:
    """What nncase did with one network.

    Attributes:
        outcome: "refused" is an exception of the compiler, "crashed" the death of its process; "fails at run time" is
            either of the two in nncase's simulator.
        message: the last line that nncase logged, or the signal.
        kpu: convolutions on the KPU.
        convs: each of them: "3x3 8→16 @16x16 max_2_stride_2".
        cpu_ops: the stack machine's operators in running order, in lower case, without CALL.
        steps: the whole program, calls inlined: transfers, KPU convolutions and CPU operators with their function.
        kmodel_bytes: size of the file.
        heap_bytes: general SRAM beside the file.
        kpu_bytes: feature-map memory.
        loads_needed: weight loads of the convolution that needs most.
        loads_encoded: what its register says.
        relative_error: ‖a − b‖ / ‖b‖ over all outputs of all calibration images; a: nncase's simulator, b: onnxruntime.
        cosine: of a and b.
        largest_error: max |a − b|.
        largest_value: max |b|.
        shapes: of nncase's outputs.
        true_shapes: of onnxruntime's.
    """

    outcome: Outcome
    message: str = ""
    kpu: int = 0
    convs: tuple[str, ...] = ()
    cpu_ops: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    kmodel_bytes: int = 0
    heap_bytes: int = 0
    kpu_bytes: int = 0
    loads_needed: int = 0
    loads_encoded: int = 0
    relative_error: float | None = None
    cosine: float | None = None
    largest_error: float | None = None
    largest_value: float | None = None
    shapes: tuple[tuple[int, ...], ...] = ()
    true_shapes: tuple[tuple[int, ...], ...] = ()


def observe(models: Mapping[str, onnx.ModelProto], folder: Path) -> dict[str, Observation]:
    """Compile and run every network; its files are left in ``folder`` under its name.

    They are NAME.onnx, NAME.images.npy, NAME.kmodel, NAME.log, NAME.npz (nncase's outputs) and NAME.true.npz.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = []
    for name, model in models.items():
        onnx.save(model, folder / f"{name}.onnx")
        image = tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:])
        np.save(folder / f"{name}.images.npy", images_for(name, image))
        files = {"network": "onnx", "images": "images.npy", "kmodel": "kmodel", "log": "log", "outputs": "npz"}
        for made in ("kmodel", "log", "npz"):
            (folder / f"{name}.{made}").unlink(missing_ok=True)
        paths = {key: str(folder / f"{name}.{ending}") for key, ending in files.items()}
        jobs.append({"name": name, "input_range": INPUT_RANGE, **paths})
    (folder / "jobs.json").write_text(json.dumps(jobs))
    with (folder / "endings.jsonl").open("w") as endings:
        subprocess.run(
            [PYTHON, WORKER, folder / "jobs.json"],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=endings,
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            timeout=TIME_LIMIT,
        )
    ended = [json.loads(line) for line in (folder / "endings.jsonl").read_text().splitlines()]
    return {ending["name"]: _observation(folder, **ending) for ending in ended}


def images_for(name: str, image: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return the calibration images of a network: patches of four pixels with noise on them, full range."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    channels, height, width = image
    coarse = random.uniform(0, 160, (IMAGES, channels, -(-height // 4), -(-width // 4)))
    smooth = coarse.repeat(4, axis=2).repeat(4, axis=3)[:, :, :height, :width]
    return np.clip(np.round(smooth + random.uniform(0, 96, (IMAGES, *image))), 0, 255).astype(np.uint8)


def normalised(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return what the network sees of the images."""
    return (images.astype(np.float32) - 128) / 64


def truth(network: Path, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
    """Return onnxruntime's outputs, with a leading axis for the images."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Its optimiser merges a Pad into the MaxPool behind it, which then pads with −∞.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(network.read_bytes(), options, providers=["CPUExecutionProvider"])
    answers = [session.run(None, {"image": image[None]}) for image in normalised(images)]
    return [np.stack(output) for output in zip(*answers, strict=True)]


def outputs_of(folder: Path, name: str) -> tuple[list[npt.NDArray[np.float32]], list[npt.NDArray[np.float32]]]:
    """Return nncase's and onnxruntime's outputs of a network that was observed."""
    loaded = (np.load(folder / f"{name}{ending}.npz") for ending in ("", ".true"))
    given, true = ([arrays[f"arr_{i}"] for i in range(len(arrays.files))] for arrays in loaded)
    return given, true


def _observation(folder: Path, name: str, exit: int, signal: int) -> Observation:  # noqa: A002 (keys of the worker)
    true = truth(folder / f"{name}.onnx", np.load(folder / f"{name}.images.npy"))
    np.savez(folder / f"{name}.true.npz", *true)
    shapes = tuple(tuple(output.shape[1:]) for output in true)
    message = _last_line((folder / f"{name}.log").read_text(errors="replace"), signal)
    path = folder / f"{name}.kmodel"
    if not path.exists():
        return Observation("crashed" if signal else _FAILED[exit], message, true_shapes=shapes)
    if signal or exit:
        return Observation("fails at run time", message, **_decoded(path.read_bytes()), true_shapes=shapes)
    given, true = outputs_of(folder, name)
    return Observation(
        "compiled",
        **_decoded(path.read_bytes()),
        **_compared(given, true),
        shapes=tuple(tuple(output.shape[1:]) for output in given),
        true_shapes=shapes,
    )


def _last_line(log: str, number: int) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    died = [signal.Signals(number).name] if number else []
    return ": ".join(died + lines[-1:])


def _decoded(data: bytes) -> dict[str, object]:
    kmodel = read(data)
    worst = max((conv.registers for conv in kmodel.convolutions), key=lambda r: r.loads_needed, default=None)
    return {
        "kpu": len(kmodel.convolutions),
        "convs": tuple(map(_conv_text, kmodel.convolutions)),
        "cpu_ops": _cpu_ops(data),
        "steps": tuple(map(_step_text, kmodel.steps)),
        "kmodel_bytes": len(data),
        "heap_bytes": kmodel.heap_bytes,
        "kpu_bytes": kmodel.kpu_bytes,
        "loads_needed": worst.loads_needed if worst else 0,
        "loads_encoded": worst.load_time if worst else 0,
    }


def _cpu_ops(data: bytes) -> tuple[str, ...]:
    container = v5_container.read_container(data, early=False)
    function = container.modules[container.entry_module].functions[container.entry_function]
    try:
        statements = stackvm.decode(function.text, DIALECTS[0], "the entry function")
        return tuple(s.op.lower() for s in statements if s.op != "CALL")
    except KmodelError as error:
        return (f"undecoded: {error.what}",)


def _conv_text(conv: KpuConv) -> str:
    r = conv.registers
    kind = "dw " if r.depthwise else ""
    pool = f" {r.pool.name.lower()}" if r.pool else ""
    return f"{kind}{r.kernel}x{r.kernel} {r.in_channels}→{r.out_channels} @{r.in_height}x{r.in_width}{pool}"


def _step_text(step: object) -> str:
    if isinstance(step, KpuConv):
        return f"kpu {_conv_text(step)}"
    if isinstance(step, Unknown):
        return step.name.lower()
    kind, op = type(step).__name__.lower(), getattr(step, "op", getattr(step, "mode", None))
    shapes = ["x".join(map(str, r.shape)) for r in (*step.inputs, *step.outputs)]
    function = f" {getattr(op, 'name', op)}".lower() if op is not None else ""
    return f"{kind}{function} {' '.join(shapes[:-1])} → {shapes[-1]}"


def _compared(given: list[npt.NDArray[np.float32]], true: list[npt.NDArray[np.float32]]) -> dict[str, float | None]:
    a, b = (np.concatenate([output.astype(np.float64).ravel() for output in outputs]) for outputs in (given, true))
    if a.size != b.size:
        return {}
    length, difference = float(np.linalg.norm(b)), np.abs(a - b)
    return {
        "relative_error": float(np.linalg.norm(a - b)) / length if length else None,
        "cosine": float(a @ b) / (length * float(np.linalg.norm(a))) if length and a.any() else None,
        "largest_error": float(difference.max()),
        "largest_value": float(np.abs(b).max()),
    }


def save(observations: Mapping[str, Observation], path: Path) -> None:
    """Write observations as JSON; ``load`` reads them."""
    values = {name: asdict(seen) for name, seen in observations.items()}
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False))


def load(path: Path) -> dict[str, Observation]:
    """Read what ``save`` wrote."""
    return {name: Observation(**_tuples(values)) for name, values in json.loads(path.read_text()).items()}


def _tuples(value: Any) -> Any:
    """Return JSON's lists as tuples, at any depth of a list, and at the first of a dictionary."""
    if isinstance(value, dict):
        return {key: _tuples(part) for key, part in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def main(result: str, folder: str = "/tmp/conformance", *names: str) -> None:
    """Probe cases and write the observations as JSON."""
    from conformance_cases import CASES  # noqa: PLC0415 (the probe itself knows no cases)

    chosen = {name: case.build() for name, case in CASES.items() if not names or name in names}
    save(observe(chosen, Path(folder)), Path(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
