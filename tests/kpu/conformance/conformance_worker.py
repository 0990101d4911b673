"""Compiles and runs networks with nncase 1.9 (Python 3.10, numpy and nncase only).

``python conformance_worker.py JOBS.json``: a list of jobs that name the files ``network`` (ONNX), ``images`` (.npy,
uint8 N×C×H×W), ``kmodel``, ``outputs`` (.npz) and ``log``, and give ``input_range``. A line of JSON a job says how it
ended.

Each job has a process of its own, forked before nncase has done anything: a crash or an endless loop ends that job
only, and nncase is imported once.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path

import nncase
import numpy as np

TIME_LIMIT = 30  # seconds a job
MEMORY_LIMIT = 4 << 30  # bytes of address space a job


def main(path: str) -> None:
    """Do all jobs, one after the other."""
    for job in json.loads(Path(path).read_text()):
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _in_child(job)
        status = os.waitpid(child, 0)[1]
        ending = {"exit": os.WEXITSTATUS(status), "signal": 0}
        if os.WIFSIGNALED(status):
            ending = {"exit": 0, "signal": os.WTERMSIG(status)}
        print(json.dumps({"name": job["name"], **ending}), flush=True)


def _in_child(job: dict) -> None:
    signal.alarm(TIME_LIMIT)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):  # the C++ side prints there
        os.dup2(log, descriptor)
    step = _compile
    try:
        kmodel = _compile(job)
        Path(job["kmodel"]).write_bytes(kmodel)
        step = _run
        _run(job, kmodel)
    except Exception as error:  # whatever nncase raises: its text is the message
        sys.stdout.flush()
        os.write(1, f"\n{type(error).__name__}: {error}\n".encode())
        os._exit(1 if step is _compile else 2)
    os._exit(0)


def _compile(job: dict) -> bytes:
    images = np.load(job["images"])
    options = nncase.CompileOptions()
    options.target, options.preprocess, options.input_type, options.output_type = "k210", True, "uint8", "float32"
    options.input_shape, options.input_range = [1, *images.shape[1:]], job["input_range"]
    options.mean, options.std = [0.0] * images.shape[1], [1.0] * images.shape[1]
    options.input_layout = options.output_layout = "NCHW"
    compiler = nncase.Compiler(options)
    compiler.import_onnx(Path(job["network"]).read_bytes(), nncase.ImportOptions())
    calibration = nncase.PTQTensorOptions()
    calibration.set_tensor_data(images.tobytes())
    calibration.samples_count, calibration.calibrate_method = len(images), "no_clip"
    compiler.use_ptq(calibration)
    compiler.compile()
    return compiler.gencode_tobytes()


def _run(job: dict, kmodel: bytes) -> None:
    simulator = nncase.Simulator()
    simulator.load_model(kmodel)
    answers = []
    for image in np.load(job["images"]):
        simulator.set_input_tensor(0, nncase.RuntimeTensor.from_numpy(np.ascontiguousarray(image[None])))
        simulator.run()
        answers.append([simulator.get_output_tensor(i).to_numpy().copy() for i in range(simulator.outputs_size)])
    np.savez(job["outputs"], *(np.stack(output) for output in zip(*answers)))  # noqa: B905 (Python 3.9 and older)


if __name__ == "__main__":
    main(sys.argv[1])
