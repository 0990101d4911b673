"""Compiles one network with nncase 1.9 (Python 3.10, standard library, numpy and nncase only).

``python compile.py JOB.json``, where the job names the files ``network`` and ``calibration`` (.npy, uint8 N×C×H×W) and
``kmodel``, which is written, and gives ``kind`` and the ``options`` of nncase's CompileOptions. Every step is printed
before it begins: nncase can crash in any of them, and then the last line tells which.
"""

import ctypes
import json
import sys
from pathlib import Path

_CANNOT_START = 127
_LINE_BUFFERED = 1  # stdio.h: _IOLBF

try:
    import nncase
    import numpy as np
except ImportError as error:
    print(f"cannot import: {error}")
    sys.exit(_CANNOT_START)


def main(job_path: str) -> None:
    """Do the job."""
    # The C++ side prints through C's stdout, whose buffer a crash would swallow.
    libc = ctypes.CDLL(None)
    libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, _LINE_BUFFERED, 0)
    job = json.loads(Path(job_path).read_text())
    options = nncase.CompileOptions()
    for name, value in job["options"].items():
        setattr(options, name, value)
    compiler = nncase.Compiler(options)

    step(f"importing the {job['kind']} network")
    importer = {"tflite": compiler.import_tflite, "onnx": compiler.import_onnx}[job["kind"]]
    importer(Path(job["network"]).read_bytes(), nncase.ImportOptions())

    calibration = np.load(job["calibration"], allow_pickle=False)
    step(f"taking {len(calibration)} calibration images")
    quantisation = nncase.PTQTensorOptions()
    quantisation.calibrate_method = job["calibrate_method"]
    quantisation.samples_count = len(calibration)
    quantisation.set_tensor_data(calibration.tobytes())
    compiler.use_ptq(quantisation)

    step("compiling")
    compiler.compile()
    step("writing the kmodel")
    Path(job["kmodel"]).write_bytes(compiler.gencode_tobytes())


def step(text: str) -> None:
    """Say what begins."""
    print(f"kpufit: {text}", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception as error:  # whatever nncase raises: its text is the message
        print(f"{type(error).__name__}: {error}", flush=True)
        sys.exit(1)
