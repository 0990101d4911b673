"""Times nncase 1.9's Simulator (Python 3.10; standard library, numpy and nncase only).

``python _simulator_nncase.py KMODEL IMAGES.npy OUTPUTS.npy``: says "ready", waits for a line, runs one image at a time
(the Simulator takes no more at a time), says how many seconds that took, and writes the outputs.
"""

import sys
import time
from pathlib import Path

import nncase
import numpy as np


def main(kmodel: str, images_path: str, outputs_path: str) -> None:
    """Do it."""
    images = np.load(images_path, allow_pickle=False)
    simulator = nncase.Simulator()
    simulator.load_model(Path(kmodel).read_bytes())
    print("ready", flush=True)
    sys.stdin.readline()
    outputs = []
    begun = time.perf_counter()
    for image in images:
        tensor = nncase.RuntimeTensor.from_numpy(np.ascontiguousarray(image[np.newaxis]))
        simulator.set_input_tensor(0, tensor)
        simulator.run()
        outputs.append(simulator.get_output_tensor(0).to_numpy().copy())
    print(time.perf_counter() - begun, flush=True)
    np.save(outputs_path, np.concatenate(outputs))


if __name__ == "__main__":
    main(*sys.argv[1:])
