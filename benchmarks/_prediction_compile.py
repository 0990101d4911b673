"""What nncase 1.9 really makes of each network, kept in benchmarks/.cache: NAME.onnx, .kmodel, .log and .json.

A network is built anew when a module that builds it has changed, and compiled anew when its ONNX bytes, nncase's
version or the options below are others. A change of the package alone builds nothing anew: nncase and the prediction
still see the same file. Delete the folder to start from nothing.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx

from pipeline.compiler.child import Tool, log_of, run_jobs
from pipeline.compiler.environment import find_nncase, nncase_version
from pipeline.errors import ToolError
from pipeline.files import exchange_folder, write_bytes, write_text

ROOT: Final = Path(__file__).resolve().parents[1]
CACHE: Final = ROOT / "benchmarks/.cache"
DOES_NOT_FIT: Final = "Allocator has ran out of memory"
TIMEOUT_S: Final = 1800.0
MEMORY_BYTES: Final = 14 << 30
"""nncase holds a network's float weights several times over; VGG19's alone are 574 MB."""
CALIBRATION_IMAGES: Final = 2
_SOURCES: Final = {
    "benchmarks._prediction_handmade": ("graph", "handmade"),
    "benchmarks._prediction_networks": ("networks", "light"),
}
"""The modules that a network is built by, by the module of its function."""

_OPTIONS: Final[dict[str, Any]] = {
    "target": "k210",
    "preprocess": True,
    "input_type": "uint8",
    "output_type": "float32",
    "input_range": [0.0, 1.0],
    "input_layout": "NCHW",
    "output_layout": "NCHW",
    "quant_type": "uint8",
    "w_quant_type": "uint8",
}


@dataclass(frozen=True)
class Compiled:
    """A network and what nncase made of it.

    Attributes:
        name: of the network.
        onnx: the file that nncase was given.
        kmodel: the file that nncase wrote, None where it refused or crashed.
        message: what nncase said when it refused, else None.
        seconds: that nncase took, its process included.
    """

    name: str
    onnx: Path
    kmodel: Path | None
    message: str | None
    seconds: float

    @property
    def fits(self) -> bool | None:
        """Whether its feature maps fit the KPU's memory; None where nncase failed for another reason."""
        if self.kmodel is not None:
            return True
        return False if DOES_NOT_FIT in (self.message or "") else None


def compiled(name: str, build: Callable[[], onnx.ModelProto]) -> Compiled:
    """Return what nncase makes of a network: kept, or built and compiled now.

    Raises:
        SetupError: nncase's environment is missing.
        OSError: a file of ../shared is missing that ``build`` reads.
    """
    path = CACHE / f"{name}.onnx"
    note = path.with_suffix(".json")
    known: dict[str, Any] = json.loads(note.read_text()) if note.is_file() else {}
    sources = _sources(getattr(build, "func", build).__module__)
    if not path.is_file() or known.get("sources") != sources:
        content: bytes = build().SerializeToString()
        if not path.is_file() or path.read_bytes() != content:
            CACHE.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content)
            known = {}
        known |= {"sources": sources, "network": hashlib.sha256(content).hexdigest()}
    version = _nncase()[1]
    options = _digest([json.dumps([version, CALIBRATION_IMAGES, _OPTIONS]).encode()])
    if known.get("options") != options or not (known["message"] or path.with_suffix(".kmodel").is_file()):
        known |= {"options": options, "nncase": version, **_compile(path)}
    write_text(note, json.dumps(known, indent=1))
    kmodel = None if known["message"] else path.with_suffix(".kmodel")
    return Compiled(name, path, kmodel, known["message"], known["seconds"])


def _compile(path: Path) -> dict[str, Any]:
    """Run nncase; write its kmodel and its log beside the network; return its message and its seconds."""
    shape = [dim.dim_value for dim in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]
    kmodel = path.with_suffix(".kmodel")
    kmodel.unlink(missing_ok=True)
    message = None
    with exchange_folder() as folder:
        images = np.random.default_rng(0).integers(0, 256, (CALIBRATION_IMAGES, *shape[1:]), dtype=np.uint8)
        np.save(folder / "calibration.npy", images)
        job, made = folder / "compile.json", folder / "kmodel"
        content = {
            "kind": "onnx",
            "options": {**_OPTIONS, "input_shape": shape, "mean": [0.0] * shape[1], "std": [1.0] * shape[1]},
            "calibrate_method": "no_clip",
            "network": str(path),
            "calibration": str(folder / "calibration.npy"),
            "kmodel": str(made),
        }
        job.write_text(json.dumps(content))
        tool = Tool("nncase", _nncase()[0], "compile.py", {}, "")
        begun = time.perf_counter()
        try:
            list(run_jobs(tool, [job], workers=1, timeout_s=TIMEOUT_S, memory_bytes=MEMORY_BYTES))
        except ToolError as error:
            message = error.what
        seconds = round(time.perf_counter() - begun, 2)
        write_bytes(path.with_suffix(".log"), log_of(job).read_bytes())
        if message is None:
            write_bytes(kmodel, made.read_bytes())
    return {"message": message, "seconds": seconds}


@functools.cache
def _sources(module: str) -> str:
    names = _SOURCES[module]
    return _digest((ROOT / f"benchmarks/_prediction_{name}.py").read_bytes() for name in names)


@functools.cache
def _nncase() -> tuple[Path, str]:
    python = find_nncase(ROOT)
    return python, nncase_version(python)


def _digest(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
