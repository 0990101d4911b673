"""The front, and which candidates go on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.search.front import Point, choose, front_of
from pipeline.search.rungs import REDUCTION, Result, goes_on, share_of

BOTH = ("accuracy", "kmodel_bytes")
VALUES = st.tuples(st.integers(0, 10), st.integers(1, 10))
POINTS = st.lists(VALUES, min_size=1, max_size=20).map(
    lambda found: [Point(number, a / 10, b, 0, None, {}, "") for number, (a, b) in enumerate(found)]
)
RESULTS = st.lists(VALUES.map(lambda each: Result(each[0] / 10, each[1])), min_size=1, max_size=20)


def no_worse(one: Point, other: Point) -> bool:
    return one.accuracy >= other.accuracy and one.kmodel_bytes <= other.kmodel_bytes


@given(POINTS)
def test_the_front_covers_all_and_none_of_it_another(points: list[Point]) -> None:
    front = front_of(points, BOTH)
    assert all(any(no_worse(best, point) for best in front) for point in points)
    assert not any(no_worse(one, other) for one in front for other in front if one is not other)
    assert [point.kmodel_bytes for point in front] == sorted(point.kmodel_bytes for point in front)


@given(RESULTS)
def test_whom_none_beats_goes_on_and_at_least_a_third_do(results: list[Result]) -> None:
    others = [[*results[:index], *results[index + 1 :]] for index in range(len(results))]
    on = [goes_on(result, rest) for result, rest in zip(results, others, strict=True)]
    for result, goes, rest in zip(results, on, others, strict=True):
        if not any(each.accuracy > result.accuracy and each.kmodel_bytes <= result.kmodel_bytes for each in rest):
            assert goes
    assert sum(on) >= len(results) / REDUCTION


def test_of_equal_sizes_the_best_third_goes_on() -> None:
    results = [Result(number / 10, 100) for number in range(9)]
    on = [each for each in results if goes_on(each, [other for other in results if other is not each])]
    assert on == results[-3:]


@given(st.integers(1, 4), st.floats(0.1, 1))
def test_effort_rises_to_what_was_asked_for(rungs: int, effort: float) -> None:
    shares = [share_of(rung, rungs, effort) for rung in range(rungs)]
    assert shares == sorted(shares)
    assert shares[-1] == effort


@given(POINTS, st.none() | st.integers(0, 10).map(lambda each: each / 10), st.integers(100, 10_000))
def test_the_smallest_of_enough_accuracy_is_chosen_else_the_largest_of_the_best(
    points: list[Point], level: float | None, images: int
) -> None:
    chosen = choose(points, level, images)
    enough = [point for point in points if level is not None and point.accuracy >= level]
    if enough:
        assert chosen in front_of(points, BOTH)
        assert chosen.accuracy >= (level or 0)
        assert chosen.kmodel_bytes == min(point.kmodel_bytes for point in enough)
    else:
        best = max(point.accuracy for point in points)
        assert best - chosen.accuracy <= 0.5 / images**0.5  # no standard error of a fraction is larger
        assert all(point.kmodel_bytes <= chosen.kmodel_bytes for point in points if point.accuracy == best)


def test_luck_does_not_decide_among_what_cannot_be_told_apart() -> None:
    small, large = Point(0, 0.894, 26_000, 0, None, {}, ""), Point(1, 0.890, 58_000, 0, None, {}, "")
    assert choose([small, large], None, images=500) == large
    assert choose([small, large], None, images=100_000) == small
