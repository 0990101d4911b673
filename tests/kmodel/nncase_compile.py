"""Compiles an ONNX network for the K210; run by nncase's own Python (3.10).

Usage: python nncase_compile.py MODEL.onnx CALIBRATION.npy OUTPUT_TYPE OUT.kmodel [OUT2.kmodel ...]
"""

import sys
from pathlib import Path

import nncase
import numpy as np


def compile_once(model: Path, calibration: Path, output_type: str, out: Path) -> None:
    """Write the kmodel of one network, quantised on uint8 N×C×H×W images."""
    images = np.load(calibration)
    options = nncase.CompileOptions()
    options.target = "k210"
    options.preprocess = True
    options.input_type = "uint8"
    options.output_type = output_type
    options.input_shape = [1, *images.shape[1:]]
    options.input_range = [0, 1]
    options.mean, options.std = [0] * images.shape[1], [1] * images.shape[1]
    options.input_layout = options.output_layout = "NCHW"
    compiler = nncase.Compiler(options)
    compiler.import_onnx(model.read_bytes(), nncase.ImportOptions())
    quantisation = nncase.PTQTensorOptions()
    quantisation.samples_count = len(images)
    quantisation.calibrate_method = "no_clip"
    quantisation.set_tensor_data(images.tobytes())
    compiler.use_ptq(quantisation)
    compiler.compile()
    out.write_bytes(compiler.gencode_tobytes())


if __name__ == "__main__":
    for name in sys.argv[4:]:
        compile_once(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(name))
