"""A float network becomes a kmodel v5: post-training quantisation and code by nncase 1.9."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.compiler.child import Tool, log_of, run_jobs
from pipeline.compiler.environment import time_limit_s
from pipeline.compiler.source import checked_onnx, checked_tflite
from pipeline.errors import DataError, ToolError
from pipeline.files import exchange_folder
from pipeline.kmodel.canonical import canonical_v5
from pipeline.network.contract import InputContract
from pipeline.progress import track

#: A compile takes 0.2–1.6 s for MobileNetV1 at 224×224 (measured); what takes ten minutes hangs.
TIMEOUT_S = 600.0

_REMEDY = "`kpufit check` names the layers that nncase cannot take, and what would replace them"
_REMEDIES = {
    "Allocator has ran out of memory": "the feature maps that live together are over the KPU's 2 MiB: prune the widest "
    "layers or give smaller images; `kpufit check` says which layers",
    "bad_alloc": "the compiler ran out of memory: give it a smaller network",
    "Cannot allocate memory": "the compiler ran out of memory: give it a smaller network",
}


@dataclass(frozen=True)
class Compiled:
    """What nncase made of a network.

    Attributes:
        kmodel: the file, version 5, without the bits that nncase leaves uninitialised.
        log: what the compiler printed, memory table included.
    """

    kmodel: bytes
    log: str


def compile_network(
    network: bytes,
    kind: Literal["tflite", "onnx"],
    calibration: NDArray[np.uint8],
    contract: InputContract,
    *,
    nncase_python: Path,
    output_type: Literal["uint8", "float32"] = "float32",
    timeout_s: float | None = None,
    where: str = "",
) -> Compiled:
    """Compile a float network for the K210, in a process of its own.

    The kmodel takes a uint8 image C×H×W: the normalisation is in nncase's ``input_range``, so that it needs no operator
    of the CPU. The same network and images give the same bytes.

    Args:
        network: bytes of a float TFLite file (input 1×H×W×C) or ONNX file (input N×C×H×W, normalised).
        kind: which of the two.
        calibration: images N×C×H×W from which the range of every activation is taken.
        contract: the input; its channels must share one mean and std.
        nncase_python: the interpreter of nncase's environment, see :func:`pipeline.compiler.environment.find_nncase`.
        output_type: ``uint8`` leaves the codes of the last layer, ``float32`` dequantises them.
        timeout_s: seconds that the compiler may take; None: ``$KPUFIT_NNCASE_TIMEOUT_S``, else 600.
        where: the network's name, for messages.

    Raises:
        NetworkError: the network is damaged, quantised already, has another input or weights that are not finite, or
            the contract's channels differ.
        DataError: the calibration images are not uint8 images of the contract's size.
        SetupError: nncase's environment is missing.
        ToolError: nncase refused, crashed, hung or ran out of memory; the message has its last lines.
        KmodelError: nncase wrote something that is no kmodel v5.
        StorageError: the disk is full.
    """
    check = {"tflite": checked_tflite, "onnx": checked_onnx}[kind]
    checked = check(network, contract.image, where=where)
    _check_calibration(calibration, contract)
    options = _options(contract, output_type)
    with exchange_folder() as folder:
        job, kmodel = folder / "compile.json", folder / "kmodel"
        (folder / "network").write_bytes(checked)
        np.save(folder / "calibration.npy", calibration)
        content = {
            "kind": kind,
            "options": options,
            # no_clip is nncase's default and was the most accurate; kld and l2 were worse or far slower (measured).
            "calibrate_method": "no_clip",
            "network": str(folder / "network"),
            "calibration": str(folder / "calibration.npy"),
            "kmodel": str(kmodel),
        }
        job.write_text(json.dumps(content))
        tool = Tool("nncase", nncase_python, "compile.py", _REMEDIES, _REMEDY)
        running = run_jobs(tool, [job], workers=1, timeout_s=timeout_s or time_limit_s(TIMEOUT_S), where=where)
        for _ in track(running, "compiling", total=1):
            pass
        log = log_of(job).read_text(errors="replace")
        if not kmodel.is_file() or kmodel.stat().st_size == 0:
            raise ToolError("nncase ended without writing a kmodel", where=where, remedy=_REMEDY, log=log)
        return Compiled(canonical_v5(kmodel.read_bytes()), log)


def _options(contract: InputContract, output_type: str) -> dict[str, object]:
    """Options of nncase (CompileOptions) for an input that costs the CPU nothing.

    ``input_layout = output_layout = "NCHW"`` also for TFLite, whose own NHWC would cost a Transpose; mean 0 and std 1,
    since any other adds float operators over the whole image (measured with nncase 1.9.0.20230322).
    """
    channels, height, width = contract.image
    return {
        "target": "k210",
        "preprocess": True,
        "input_type": "uint8",
        "output_type": output_type,
        "input_shape": [1, channels, height, width],
        "input_range": list(contract.input_range),
        "input_layout": "NCHW",
        "output_layout": "NCHW",
        "mean": [0.0] * channels,
        "std": [1.0] * channels,
        "quant_type": "uint8",
        "w_quant_type": "uint8",
    }


def _check_calibration(images: NDArray[np.uint8], contract: InputContract) -> None:
    """Refuse what nncase would read past the end of: it does not look at the block's length."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != contract.image or len(images) == 0:
        raise DataError(
            f"calibration images are {images.dtype} {list(images.shape)}, "
            f"but the network takes uint8 {['N', *contract.image]} (N×C×H×W)",
            remedy="give at least one image of the network's own size",
        )
