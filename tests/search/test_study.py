"""The study in its database: what is damaged is left alone, what was lost is found, and nothing is counted twice."""

from __future__ import annotations

import itertools
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState

from pipeline.errors import StorageError
from pipeline.search import study as study_module
from pipeline.search.front import count
from pipeline.search.history import history
from pipeline.search.study import (
    ERROR,
    DatabaseError,
    Place,
    active,
    experimental,
    finished,
    is_surplus,
    open_study,
    origin,
    patiently,
    place_of,
    retry_lost,
    sampler_of,
    storage_errors,
)

OBJECTIVES = ("accuracy", "kmodel_bytes")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_of(tmp_path, "tiny", "0123456789abcdef", "sqlite")


def opened(place: Place) -> optuna.Study:
    return open_study(place, OBJECTIVES, sampler_of(0))


def ask(study: optuna.Study) -> optuna.Trial:
    with experimental():
        return study.ask({"channels": IntDistribution(1, 1 << 20)})


def file_of(place: Place) -> Path:
    assert place.file is not None
    return place.file


def refused(place: Place) -> str:
    """Assert that a damaged file is refused, with its name and what to do, and is not changed; return the message."""
    before = file_of(place).read_bytes()
    with pytest.raises(DatabaseError) as caught:
        opened(place)
    assert caught.value.lasting
    assert str(file_of(place)) in str(caught.value)
    assert "put a copy of the file back" in caught.value.remedy
    assert file_of(place).read_bytes() == before
    return str(caught.value)


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = place_of(tmp_path_factory.mktemp("whole"), "tiny", "0123456789abcdef", "sqlite")
    study = opened(place)
    for _ in range(3):
        study.tell(ask(study), (0.5, 1.0))
    return file_of(place).read_bytes()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_cut_short_is_damaged(place: Place, whole_file: bytes, share: float) -> None:
    file_of(place).parent.mkdir(parents=True)
    file_of(place).write_bytes(whole_file[: int(len(whole_file) * share)])
    refused(place)


@pytest.mark.parametrize("share_left", [0.0, 0.3])
def test_noise_is_damage(place: Place, whole_file: bytes, share_left: float) -> None:
    left = whole_file[: int(len(whole_file) * share_left)]
    file_of(place).parent.mkdir(parents=True)
    file_of(place).write_bytes(left + os.urandom(len(whole_file) - len(left)))
    refused(place)


def test_the_database_of_something_else_is_left_alone(place: Place) -> None:
    file_of(place).parent.mkdir(parents=True)
    with sqlite3.connect(file_of(place)) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    assert "something else" in refused(place)


def test_an_empty_file_is_damage_only_where_candidates_were_evaluated(place: Place) -> None:
    cached = place.folder / "cache" / "ab" / "abcd"
    cached.parent.mkdir(parents=True)
    file_of(place).touch()
    cached.touch()
    assert "empty" in refused(place)
    cached.unlink()
    assert opened(place).get_trials() == []  # killed at the very beginning


def test_a_name_that_is_no_database_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="URL of a database"):
        place_of(tmp_path, "tiny", "0123456789abcdef", "postgres at home")


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    place = place_of(tmp_path, "tiny", "0123456789abcdef", "postgresql://me:hush@127.0.0.1:9/none")
    assert "hush" in place.url
    start = time.monotonic()
    with pytest.raises(DatabaseError) as caught:
        open_study(place, OBJECTIVES, sampler_of(0), patience_s=2)
    assert time.monotonic() - start < 20
    assert "hush" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_a_worker_dead_before_its_first_heartbeat_is_noticed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPUFIT_SEARCH_GRACE_S", "2")
    study = opened(place)
    dead = ask(study)
    until = time.monotonic() + 30
    while not (waiting := study.get_trials(states=(TrialState.WAITING,))) and time.monotonic() < until:
        retry_lost(study)
        time.sleep(0.2)
    (again,) = waiting
    assert study.get_trials()[dead.number].state == TrialState.FAIL
    assert again.params == dead.params
    assert origin(again) == dead.number


def test_what_failed_without_a_reason_is_tried_again_once_and_afresh(place: Place) -> None:
    study = opened(place)
    study.enqueue_trial({"channels": 7})
    lost, noted = ask(study), ask(study)
    lost.set_constraint("rung", 1.0)
    lost.set_user_attr("rung0", [0.5, 1])
    noted.set_user_attr("error", "nncase refused it")
    for trial in (lost, noted):
        study.tell(trial, state=TrialState.FAIL)
    retry_lost(study)
    retry_lost(study)
    (again,) = study.get_trials(states=(TrialState.WAITING,))
    assert (origin(again), again.params, again.constraints, again.user_attrs) == (0, {"channels": 7}, {}, {})
    study.tell(ask(study), state=TrialState.FAIL)
    retry_lost(study)
    assert [origin(trial) for trial in active(study.get_trials())] == [0]


def test_a_candidate_at_which_worker_after_worker_dies_is_given_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = opened(place)
    study.enqueue_trial({"channels": 7})
    deaths = 0
    while (dead := ask(study)).params["channels"] == 7:
        deaths += 1
        with monkeypatch.context() as patch:
            stale = [dead._trial_id]
            patch.setattr(study._storage, "_get_stale_trial_ids", lambda study_id, stale=stale: stale)
            retry_lost(study)
        assert deaths < 10
    retry_lost(study)
    assert deaths == study_module._MOST_DEATHS > 1
    assert [trial.number for trial in active(study.get_trials())] == [dead.number]
    (told,) = (trial for trial in study.get_trials() if ERROR in trial.user_attrs)
    assert (told.state, origin(told), told.params) == (TrialState.FAIL, 0, {"channels": 7})
    assert f"died {deaths} times" in told.user_attrs[ERROR]
    counts = count(study.get_trials())
    assert (counts.failed, counts.repeated) == (1, deaths)
    assert [row["error"] for row in history(study.get_trials())] == [told.user_attrs[ERROR]]


def test_a_candidate_given_back_again_and_again_is_not_given_up(place: Place) -> None:
    study = opened(place)
    for _ in range(2 * study_module._MOST_DEATHS):
        study.tell(ask(study), state=TrialState.FAIL)  # as after Ctrl-C
        retry_lost(study)
    assert [origin(trial) for trial in active(study.get_trials())] == [0]


def test_a_candidate_done_twice_counts_once(place: Place) -> None:
    study = opened(place)
    lost = ask(study)
    study.tell(lost, state=TrialState.FAIL)
    retry_lost(study)
    first = ask(study)
    study.tell(first, (0.9, 1.0))
    history = {"failed_trial": lost.number, "retry_history": [lost.number]}
    twin = optuna.trial.create_trial(values=(0.9, 1.0), system_attrs=history)
    study.add_trial(twin)
    (done,) = finished(study.get_trials())
    assert done.number == first.number


def test_of_too_many_the_later_are_surplus(place: Place) -> None:
    study = opened(place)
    for _ in range(4):
        ask(study)
    trials = study.get_trials()
    assert [is_surplus(trial, trials, 2) for trial in trials] == [False, False, True, True]
    study.tell(2, (0.5, 1.0))
    study.tell(3, (0.5, 1.0))
    trials = study.get_trials()
    assert all(is_surplus(trial, trials, 2) for trial in trials[:2])


def test_what_two_machines_set_at_once_is_tried_once(place: Place) -> None:
    study = opened(place)
    for _ in range(2):
        for x in (1.0, 2.0):
            study.enqueue_trial({"x": x})
    for _ in range(4):
        ask(study)
    trials = study.get_trials()
    assert [is_surplus(trial, trials, 9) for trial in trials] == [False, False, True, True]
    study.tell(0, (0.5, 1.0))
    assert is_surplus(study.get_trials()[2], study.get_trials(), 9)


def test_an_outage_is_waited_for_and_no_longer_than_asked(place: Place) -> None:
    tries: list[float] = []

    def away_twice() -> str:
        tries.append(time.monotonic())
        if len(tries) <= 2:
            raise sqlite3.OperationalError("database is locked")
        return "there"

    assert patiently(place, away_twice, 10) == "there"
    pauses = [late - early for early, late in itertools.pairwise(tries)]
    assert pauses[1] > 1.5 * pauses[0]

    def away() -> None:
        tries.append(0)
        raise sqlite3.OperationalError("database is locked")

    tries.clear()
    with pytest.raises(DatabaseError, match="locked"):
        patiently(place, away, 2)
    assert len(tries) > 1


def test_a_full_disk_is_not_waited_for(place: Place) -> None:
    opened(place)

    def fill() -> None:
        with closing(sqlite3.connect(file_of(place))) as connection:
            connection.execute("PRAGMA max_page_count = 1")  # as many as there are: the same error as of a full disk
            connection.execute("CREATE TABLE more AS SELECT zeroblob(1000000)")

    with pytest.raises(DatabaseError, match="full") as caught:
        patiently(place, fill, 60)
    assert caught.value.lasting
    assert "free space" in caught.value.remedy


def test_errors_of_others_pass(place: Place) -> None:
    with pytest.raises(ZeroDivisionError), storage_errors(place):
        _ = 1 / 0
