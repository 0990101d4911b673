"""Accuracy, confusion, plots and agreement, each against values counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.evaluation.agreement import compare
from pipeline.evaluation.layer_error import LayerError
from pipeline.evaluation.metrics import judge, predictions
from pipeline.evaluation.plots import class_rows, confusion_rows, error_rows

SCORES = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0], [9.0, 1.0, 1.0], [1.0, 2.0, 0.0]])
LABELS = np.array([0, 1, 1, 1])
NAMES = ["cat", "dog", "owl"]


def test_quality_by_hand() -> None:
    quality = judge(SCORES, LABELS)
    assert quality.accuracy == 0.75
    np.testing.assert_array_equal(quality.per_class, [1.0, 2 / 3, np.nan])
    np.testing.assert_array_equal(quality.confusion, [[1, 0, 0], [1, 2, 0], [0, 0, 0]])


def test_codes_of_a_kmodel_are_scores_too() -> None:
    codes = np.array([[7, 7, 3], [0, 1, 255]], np.uint8).reshape(2, 3, 1, 1)
    np.testing.assert_array_equal(predictions(codes), [0, 2])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_the_confusion_matrix_holds_every_image(answers: list[tuple[int, int]]) -> None:
    labels = np.array([actual for actual, _ in answers])
    scores = np.eye(5)[[predicted for _, predicted in answers]]
    quality = judge(scores, labels)
    for actual in range(5):
        for predicted in range(5):
            assert quality.confusion[actual, predicted] == answers.count((actual, predicted))
    assert quality.accuracy == pytest.approx(np.mean([actual == predicted for actual, predicted in answers]))


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (SCORES, LABELS[:3], "4 answers cannot be compared with 3 labels"),
        (SCORES, np.array([0, 1, 2, 3]), "labels 0 to 3, but the network tells 3 classes apart"),
        (SCORES, np.array([0, -1, 2, 1]), "labels -1 to 2"),
        (np.zeros((4, 3, 8, 8)), LABELS, "not one a class"),
        (np.where(SCORES == 9, np.nan, SCORES), LABELS, "answers NaN"),
        (SCORES[:0], LABELS[:0], "0 answers"),
    ],
)
def test_what_does_not_go_together_is_refused(scores: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        judge(scores, labels)


def test_rows_of_the_plots() -> None:
    assert confusion_rows(SCORES, LABELS, NAMES) == [
        {"actual": "cat", "predicted": "cat"},
        {"actual": "dog", "predicted": "dog"},
        {"actual": "dog", "predicted": "cat"},
        {"actual": "dog", "predicted": "dog"},
    ]
    assert class_rows(judge(SCORES, LABELS), NAMES) == [
        {"class": "cat", "accuracy": 1.0},
        {"class": "dog", "accuracy": 2 / 3},
    ]


def test_a_layer_without_any_error_has_no_bar() -> None:
    errors = [LayerError(0, (1, 2, 2), 0.99, 20.0, 0.0, 1.0, 0), LayerError(1, (1, 2, 2), 1.0, math.inf, 0.0, 1.0, 0)]
    assert error_rows(errors, ["first", "second"]) == [{"layer": "first", "snr_db": 20.0, "cosine": 0.99}]


def test_agreement_by_hand() -> None:
    codes = np.array([[10, 20], [200, 0]], np.uint8)
    other = np.array([[10, 21], [0, 200]], np.uint8)
    found = compare(codes, other)
    assert (found.equal, found.largest, found.same_class) == (0.25, 200.0, 0.5)
    assert found.cosine == pytest.approx((100 + 420) / math.sqrt((100 + 400 + 40000) * (100 + 441 + 40000)))
    assert found.snr_db == pytest.approx(10 * math.log10(40500 / 80001))


def test_equal_outputs_agree_without_end() -> None:
    same = compare(SCORES, SCORES.copy())
    assert (same.equal, same.largest, same.snr_db, same.same_class) == (1.0, 0.0, math.inf, 1.0)
    assert same.cosine == pytest.approx(1.0)


def test_zeros_agree_with_zeros_alone() -> None:
    zeros, ones = np.zeros((2, 1)), np.ones((2, 1))
    assert compare(zeros, zeros).cosine == 1.0
    assert (compare(zeros, ones).cosine, compare(zeros, ones).snr_db) == (0.0, -math.inf)
    assert compare(zeros, zeros).same_class is None


def test_other_shapes_are_refused() -> None:
    with pytest.raises(DataError, match=r"\[4, 3\] and \[3, 3\]"):
        compare(SCORES, SCORES[:3])
