"""Runs images through nncase 1.9's Simulator (Python 3.10, standard library, numpy and nncase only).

``python simulate.py JOB.json``, where the job names the files ``kmodel`` and ``images`` (.npy, uint8 N×C×H×W), the
range ``first``–``last`` of images to run, and ``outputs`` (.npy, one row an image), which is written.
"""

import json
import sys
from pathlib import Path

_CANNOT_START = 127

try:
    import nncase
    import numpy as np
except ImportError as error:
    print(f"cannot import: {error}")
    sys.exit(_CANNOT_START)


def main(job_path: str) -> None:
    """Do the job."""
    job = json.loads(Path(job_path).read_text())
    images = np.load(job["images"], mmap_mode="r", allow_pickle=False)[job["first"] : job["last"]]
    simulator = nncase.Simulator()
    simulator.load_model(Path(job["kmodel"]).read_bytes())
    check(simulator, images)
    outputs = []
    for image in images:
        # nncase keeps a pointer, not a reference: the tensor must outlive run().
        tensor = nncase.RuntimeTensor.from_numpy(np.ascontiguousarray(image[np.newaxis]))
        simulator.set_input_tensor(0, tensor)
        simulator.run()
        outputs.append(simulator.get_output_tensor(0).to_numpy().copy())
    np.save(job["outputs"], np.concatenate(outputs))


def check(simulator: "nncase.Simulator", images: "np.ndarray") -> None:
    """Refuse images of another shape or type: nncase reads past their end instead."""
    if simulator.inputs_size != 1 or simulator.outputs_size != 1:
        raise ValueError(f"the kmodel has {simulator.inputs_size} inputs and {simulator.outputs_size} outputs, not one")
    expected = simulator.get_input_tensor(0)
    if list(expected.shape) != [1, *images.shape[1:]] or expected.dtype != images.dtype:
        raise ValueError(
            f"the kmodel takes {expected.dtype} {list(expected.shape)}, not {images.dtype} {[1, *images.shape[1:]]}"
        )


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception as error:  # whatever nncase raises: its text is the message
        print(f"{type(error).__name__}: {error}", flush=True)
        sys.exit(1)
