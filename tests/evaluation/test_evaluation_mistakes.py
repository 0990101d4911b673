"""Which images are kept to be looked at."""

from __future__ import annotations

from io import BytesIO

import numpy as np

from pipeline.evaluation.mistakes import LARGEST_SIDE, Mistakes, mistakes

LABELS = np.array([0, 1, 1, 0, 1])
BEFORE = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
AFTER = np.array([[1.0, 0.0], [2.0, 1.0], [9.0, 1.0], [1.0, 0.0], [0.0, 1.0]])


def of(images: np.ndarray, **options: int) -> Mistakes:
    return mistakes(images, LABELS, BEFORE, AFTER, **options)


def pictures(side: int) -> np.ndarray:
    return np.arange(5 * side * side * 3, dtype=np.uint8).reshape(5, 3, side, side)


def test_only_what_is_newly_wrong_the_surest_first() -> None:
    found = of(pictures(4))
    assert (found.newly_wrong, found.newly_right) == (2, 1)
    assert found.index.tolist() == [2, 1]
    assert (found.actual.tolist(), found.answer.tolist()) == ([1, 1], [0, 0])
    np.testing.assert_array_equal(found.images, pictures(4)[[2, 1]])


def test_more_are_counted_than_kept() -> None:
    found = of(pictures(4), limit=1)
    assert found.newly_wrong == 2
    assert found.index.tolist() == [2]


def test_large_images_are_made_smaller() -> None:
    wide = np.full((5, 3, 100, 400), 77, np.uint8)
    small = of(wide).images
    assert small.shape == (2, 3, LARGEST_SIDE // 4, LARGEST_SIDE)
    assert (small == 77).all()


def test_codes_of_a_kmodel_are_scores_too() -> None:
    codes = (AFTER * 20).astype(np.uint8).reshape(5, 2, 1, 1)
    assert mistakes(pictures(4), LABELS, BEFORE, codes).index.tolist() == [2, 1]


def test_nothing_newly_wrong() -> None:
    found = mistakes(pictures(4), LABELS, BEFORE, BEFORE)
    assert (found.newly_wrong, found.newly_right, len(found.images)) == (0, 0, 0)
    assert np.load(BytesIO(found.npz()))["images"].shape == (0, 3, 4, 4)


def test_the_file_holds_all_and_is_always_the_same() -> None:
    found = of(pictures(4))
    assert found.npz() == found.npz()
    with np.load(BytesIO(found.npz()), allow_pickle=False) as file:
        assert set(file.files) == {"index", "images", "actual", "answer"}
        np.testing.assert_array_equal(file["images"], found.images)
