"""What is better, the same or worse: by tolerances, by chance, and by what earlier nights made of it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.nightly.answers import Answers, pack, unpack
from pipeline.nightly.judge import Result, judge
from pipeline.nightly.ledger import Entry
from pipeline.nightly.noise import sampling_noise, training_noise
from pipeline.recipe import Nightly

IMAGES = 1000


def wrong_of(count: int, start: int = 0) -> str:
    return pack(range(start, start + count), IMAGES)


def entry(wrong: int = 100, *, start: int = 0, kmodel: str = "a", test_set: str = "t", **metrics: float) -> Entry:
    return Entry(
        night="2026-01-01T00:00:00+00:00", time="2026-01-01T00:01:00+00:00", recipe="r", verdict="new", baseline=True,
        metrics={"kmodel_accuracy": 1 - wrong / IMAGES, "test_images": IMAGES, "kmodel_bytes": 5000, **metrics},
        kmodel=kmodel, test_set=test_set, wrong=wrong_of(wrong, start),
    )  # fmt: skip


def result(wrong: int = 100, *, start: int = 0, kmodel: str = "b", test_set: str = "t", **metrics: float) -> Result:
    made = entry(wrong, start=start, kmodel=kmodel, test_set=test_set, **metrics)
    return Result(made.metrics, made.kmodel, made.test_set, made.wrong, ())


def verdict(now: Result, before: Entry | None = None, **tolerances: float) -> str:
    return judge(now, before or entry(), (), Nightly(**tolerances)).verdict


def test_without_a_baseline_it_is_new() -> None:
    assert judge(result(), None, (), Nightly()).verdict == "new"


def test_the_same_file_is_the_same() -> None:
    judged = judge(result(kmodel="a"), entry(), (), Nightly())
    assert judged.verdict == "same"
    assert judged.reasons == ("the kmodel is the same file",)


@pytest.mark.parametrize(("wrong", "expected"), [(150, "worse"), (50, "better"), (102, "same"), (98, "same")])
def test_accuracy_counts_beyond_what_chance_makes(wrong: int, expected: str) -> None:
    assert verdict(result(wrong)) == expected


def test_on_the_same_images_a_smaller_difference_counts_than_on_others() -> None:
    # Twenty images more are wrong, and none was mended: a coin does not fall so.
    assert verdict(result(120)) == "worse"
    assert verdict(result(120, test_set="others")) == "same"


def test_many_changed_answers_make_the_same_difference_noise() -> None:
    # As many wrong images, but all of them others, and twenty more.
    assert verdict(result(120, start=500)) == "same"


@pytest.mark.parametrize(("allowed", "expected"), [(0.02, "same"), (0.019, "worse"), (0.0, "worse")])
def test_the_recipe_may_say_how_much_accuracy_may_change(allowed: float, expected: str) -> None:
    assert verdict(result(120, test_set="others"), accuracy=allowed) == expected


@pytest.mark.parametrize("figure", ["kmodel_bytes", "heap_bytes", "latency_ms"])
def test_sizes_and_time_have_no_noise(figure: str) -> None:
    before = entry(**{figure: 5000})
    assert verdict(result(**{figure: 5001}), before) == "worse"
    assert verdict(result(**{figure: 4999}), before) == "better"
    assert verdict(result(**{figure: 5001}), before, **{figure: 1}) == "same"


def test_memory_that_changed_with_every_training_so_far_may_change_as_much_again() -> None:
    nights = [entry(kmodel=str(night), heap_bytes=3000 + 150 * (night % 2)) for night in range(8)]
    before, now = entry(heap_bytes=3000), result(heap_bytes=3160)
    assert judge(now, before, nights[:2], Nightly()).verdict == "worse"
    assert judge(now, before, nights, Nightly()).verdict == "same"
    assert judge(now, before, nights, Nightly(heap_bytes=0)).verdict == "worse"
    sizes = [entry(kmodel=str(night), kmodel_bytes=5000 + 150 * (night % 2)) for night in range(8)]
    assert judge(result(kmodel_bytes=5100), entry(), sizes, Nightly()).verdict == "worse"
    assert judge(result(kmodel_bytes=5100), entry(), sizes, Nightly(kmodel_bytes=None)).verdict == "same"


def test_one_figure_that_is_worse_decides_and_is_named() -> None:
    judged = judge(result(50, kmodel_bytes=5600), entry(), (), Nightly())
    assert judged.verdict == "worse"
    assert judged.reasons == ("kmodel bytes 5,000 → 5,600 (+600; 0 allowed)",)
    assert {change.figure: change.verdict for change in judged.changes} == {
        "accuracy": "better", "kmodel bytes": "worse"
    }  # fmt: skip


def test_what_the_gate_rejects_is_rejected_and_still_compared() -> None:
    rejected = Result(result(50).metrics, "b", "t", None, ("model bytes: 9 of 8 bytes",))
    judged = judge(rejected, entry(), (), Nightly())
    assert judged.verdict == "rejected"
    assert judged.reasons == ("model bytes: 9 of 8 bytes",)
    assert judged.changes


def test_trainings_that_swing_widely_make_a_drop_noise_and_steady_ones_do_not() -> None:
    def history(step: int) -> list[Entry]:
        return [entry(100 + step * (night % 2), kmodel=str(night)) for night in range(8)]

    drop = result(125)
    assert judge(drop, entry(), history(20), Nightly()).verdict == "same"
    assert judge(drop, entry(), history(2), Nightly()).verdict == "worse"


def test_training_noise_needs_some_results_and_passes_over_one_leap() -> None:
    steady = [0.9, 0.901, 0.9, 0.901, 0.9]
    assert training_noise(steady[:4]) == 0
    assert training_noise([*steady, 0.95, 0.951]) == pytest.approx(training_noise(steady))
    assert training_noise(steady) == pytest.approx(1.96 * 2**0.5 * 0.001 / 0.954)


def test_two_draws_of_equal_quality_seldom_differ_by_more_than_the_noise() -> None:
    random = np.random.default_rng(3)
    outside = 0
    trials = 2000
    for _ in range(trials):
        one, two = (random.random(IMAGES) < 0.1 for _ in range(2))
        answers = [Answers(1 - float(each.mean()), IMAGES, "t", each) for each in (one, two)]
        outside += abs(answers[0].accuracy - answers[1].accuracy) > sampling_noise(*answers)
    assert 0.02 < outside / trials < 0.08  # 5 % by construction


def test_packed_answers_come_back_and_rubbish_is_none() -> None:
    flags = unpack(pack([0, 7, 999], IMAGES), IMAGES)
    assert flags is not None
    assert np.flatnonzero(flags).tolist() == [0, 7, 999]
    assert unpack("rubbish", IMAGES) is None
    assert unpack(pack([1], 8), IMAGES) is None
