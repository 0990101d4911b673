from __future__ import annotations

import numpy as np

from pipeline.training.data.mini import COUNTS, draw


def test_a_drawing_is_stratified_without_repeats_and_the_same_each_time() -> None:
    full = {}
    for part, count in (("train", 6000), ("test", 1500)):
        full[f"x_{part}"] = np.arange(count, dtype=np.uint16).view(np.uint8).reshape(count, 1, 1, 2)
        full[f"y_{part}"] = (np.arange(count) % 10).astype(np.uint8)
    first, again = draw(full), draw(full)
    for part, count in COUNTS.items():
        assert np.bincount(first[f"y_{part}"]).tolist() == [count // 10] * 10
        assert len({image.tobytes() for image in first[f"x_{part}"]}) == count
    assert all(np.array_equal(first[key], again[key]) for key in first)
