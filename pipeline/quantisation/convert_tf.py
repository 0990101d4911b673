"""ONNX → TensorFlow with onnx2tf. (Child process only.)

onnx2tf fetches test images from the internet for networks with three input channels and a fixed batch, unless a file
of theirs lies in the working directory; ours is made of calibration images. One failed conversion breaks later ones in
the same process, so that a process converts one network.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import NetworkError

_SAMPLES_NAME = "calibration_image_sample_data_20x128x128x3_float32.npy"
_SAMPLES_SHAPE = (20, 128, 128, 3)


def convert(onnx_path: Path, calibration: NDArray[np.uint8]) -> Any:
    """Return the network as onnx2tf's ``tf_keras.Model`` of TensorFlow operators, N×H×W×C in.

    The working directory is the file's folder from here on.

    Args:
        onnx_path: shapes known, batch open.
        calibration: uint8 N×H×W×C.

    Raises:
        NetworkError: onnx2tf cannot convert an operator; names the layer.
    """
    os.chdir(onnx_path.parent)
    np.save(_SAMPLES_NAME, sample_images(calibration))
    import onnx2tf  # noqa: PLC0415 - looks for its files in the working directory

    try:
        return onnx2tf.convert(
            input_onnx_file_path=onnx_path.name,
            output_folder_path="onnx2tf",
            not_use_onnxsim=True,  # our networks are simplified already; it would be another three child processes
            non_verbose=True,
            verbosity="error",
            disable_model_save=True,
        )
    except (Exception, SystemExit) as error:  # onnx2tf calls sys.exit where it gives up
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise NetworkError(
            f"onnx2tf cannot convert it ({reason})",
            where=getattr(error, "onnx_op_name", None) or "network",
            remedy="run `replace` first, or see `kpufit check` for what the KPU can do with this layer",
        ) from error


def sample_images(calibration: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return calibration images as onnx2tf's test images: 20×128×128×3, 0 to 1, tiled or cropped to size."""
    count, height, width, channels = _SAMPLES_SHAPE
    images = np.resize(calibration, (count, *calibration.shape[1:]))
    rows = np.arange(height) % images.shape[1]
    columns = np.arange(width) % images.shape[2]
    planes = np.arange(channels) % images.shape[3]
    return (images[:, rows][:, :, columns][..., planes] / np.float32(255)).astype(np.float32)
