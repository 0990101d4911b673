from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.training.data.split import TEST, VALIDATION, hold_out, pick, shuffled


@given(
    sizes=st.lists(st.integers(8, 60), min_size=2, max_size=6),
    share=st.floats(0.05, 0.6),
    seed=st.integers(-(2**40), 2**40),
)
def test_a_split_is_disjoint_whole_and_in_proportion(sizes: list[int], share: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)[shuffled(sum(sizes), seed, TEST)]
    count = max(len(sizes), int(share * len(labels)))
    kept, held = hold_out(labels, count, seed, VALIDATION, what="validation")
    assert len(held) == count
    assert sorted([*kept, *held]) == list(range(len(labels)))
    expected = np.array(sizes) * count / len(labels)
    assert np.all(np.abs(np.bincount(labels[held], minlength=len(sizes)) - expected) < 1)


def test_a_seed_decides_the_split() -> None:
    labels = np.arange(200) % 4
    first, again, other = (hold_out(labels, 40, seed, VALIDATION, what="")[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_order_of_a_seed_never_changes() -> None:
    """Splits of published results depend on it: PCG64's raw stream is fixed by NumPy's NEP 19."""
    assert shuffled(8, 0, VALIDATION).tolist() == [7, 6, 4, 5, 3, 1, 0, 2]
    assert pick(np.arange(12) % 3, 4, 7, TEST).tolist() == [3, 4, 6, 11]


@pytest.mark.parametrize(
    ("count", "complaint"), [(3, "too few for 4 classes"), (200, "only 200 images"), (198, "only")]
)
def test_impossible_splits_are_refused(count: int, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        hold_out(np.arange(200) % 4, count, 0, VALIDATION, what="validation")
    assert caught.value.remedy


def test_a_class_of_one_image_cannot_be_split() -> None:
    labels = np.array([0] * 30 + [1])
    kept, held = hold_out(labels, 3, 0, VALIDATION, what="validation")
    assert 30 in kept
    assert len(held) == 3
    with pytest.raises(DataError, match="1 in the smallest class"):
        hold_out(labels, 25, 0, VALIDATION, what="validation")
