"""Images brought to the size that the recipe asks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import DataError
from pipeline.progress import track


def to_shape(images: NDArray[np.uint8], image: tuple[int, int, int], *, where: str) -> NDArray[np.uint8]:
    """Return uint8 N×C×h×w as N×C×H×W with ``image`` = (C, H, W).

    Images no larger than H×W are padded with pixel 0, as much on each side (28×28 → 32×32 gains 2 a side); others are
    resized (bilinear).

    Raises:
        DataError: the number of channels differs.
    """
    channels, height, width = image
    if images.shape[1] != channels:
        raise DataError(
            f"images have {images.shape[1]} channels, data.image asks for {channels}",
            where=where,
            remedy=f"set data.image to [{images.shape[1]}, {height}, {width}]",
        )
    rows, columns = height - images.shape[2], width - images.shape[3]
    if rows == 0 and columns == 0:
        return images
    if rows >= 0 and columns >= 0:
        top, left = rows // 2, columns // 2
        return np.pad(images, ((0, 0), (0, 0), (top, rows - top), (left, columns - left)))
    resized = np.empty((len(images), *image), np.uint8)
    for source, target in zip(track(images, "resizing images"), resized, strict=True):
        for plane in range(channels):
            scaled = Image.fromarray(source[plane]).resize((width, height), Image.Resampling.BILINEAR)
            target[plane] = np.asarray(scaled, np.uint8)
    return resized
