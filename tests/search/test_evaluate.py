"""A candidate's evaluation: equal steps are computed once, and plain quantisation needs no TensorFlow."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from search_problem import a_point, tiny_problem

from pipeline.search.evaluate import evaluate
from pipeline.search.problem import Problem
from pipeline.search.reuse import key_of, reuse
from pipeline.search.space import settings_of

pytestmark = pytest.mark.nncase


@pytest.fixture(scope="module")
def problem() -> Problem:
    return tiny_problem()


def files(folder: Path) -> dict[Path, int]:
    return {path: os.stat(path).st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_what_is_equal_is_computed_once(problem: Problem, tmp_path: Path) -> None:
    first = settings_of(a_point(problem, method="ptq", calibration_images=64), problem.space)
    measured = evaluate(problem, first, 0.2, tmp_path, trained=False)
    made, start = files(tmp_path), time.monotonic()
    assert evaluate(problem, first, 0.2, tmp_path, trained=False) == measured
    assert time.monotonic() - start < 1
    assert files(tmp_path) == made
    other = first.quantise.model_copy(
        update={"calibration": first.quantise.calibration.model_copy(update={"images": 80})}
    )
    changed = type(first)(first.prune, first.replace, other)
    evaluate(problem, changed, 0.2, tmp_path, trained=False)
    kept = {path: when for path, when in files(tmp_path).items() if path in made}
    assert kept == made  # the pruned network is taken as it was
    assert len(files(tmp_path)) == len(made) + 3  # replaced anew, a kmodel, its accuracy


def test_more_effort_is_another_result(problem: Problem, tmp_path: Path) -> None:
    settings = settings_of(a_point(problem, method="ptq", epochs=4), problem.space)
    evaluate(problem, settings, 0.25, tmp_path, trained=False)
    made = len(files(tmp_path))
    evaluate(problem, settings, 0.5, tmp_path, trained=False)
    assert len(files(tmp_path)) == 2 * made


def test_results_are_kept_by_what_went_in(tmp_path: Path) -> None:
    asked = []

    def make() -> bytes:
        asked.append(1)
        return b"result"

    assert reuse(tmp_path, key_of("a", b"b"), make) == reuse(tmp_path, key_of("a", b"b"), make) == b"result"
    assert len(asked) == 1
    assert key_of("a", b"b") != key_of("ab", b"") != key_of(b"a", "b")
