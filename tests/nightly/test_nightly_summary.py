"""What a night says of itself: exit code, JSON, Markdown and the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import DESK, PHONE, browser, chromium, open_page
from nights import bad_night, entry, metrics, night, plan
from pages import assert_plots_are_drawn, assert_sound
from selenium.webdriver import Chrome

from pipeline.errors import RecipeError
from pipeline.nightly.ledger import Ledger
from pipeline.nightly.night import Night, chosen
from pipeline.nightly.page import night_page
from pipeline.nightly.summary import headline, summary_json, summary_markdown


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["new", "same", "better"], 0),
        (["same", "worse"], 1),
        (["rejected", "better"], 1),
        (["worse", "failed"], 2),
        (["timed out"], 2),
        ([], 0),
    ],
)
def test_the_exit_code_is_that_of_the_worst(verdicts: list[str], code: int) -> None:
    assert night(*(entry("good", verdict) for verdict in verdicts)).code == code


def test_what_was_accepted_though_worse_is_no_alarm() -> None:
    assert night(entry("good", "worse", baseline=True)).code == 0
    assert night(entry("good", "rejected", baseline=True)).code == 1


def test_json_holds_the_night_and_the_trends_and_passes_json() -> None:
    told = json.loads(json.dumps(summary_json(bad_night()), allow_nan=False))
    assert told["exit_code"] == 1
    assert told["counts"] == {"same": 1, "worse": 1, "rejected": 1}
    bad = next(recipe for recipe in told["recipes"] if recipe["recipe"] == "bad")
    assert bad["changes"][0]["before"] == 0.9
    assert [point["kmodel_accuracy"] for point in bad["trend"]][-2:] == [0.907, 0.71]
    assert "wrong" not in bad


def test_markdown_names_each_recipe_with_its_figures() -> None:
    text = summary_markdown(bad_night())
    assert text.splitlines()[0].endswith("1 same, 1 worse, 1 rejected")
    assert "| bad | worse | 71.00 % | 5,000 | 320 | 0.500 ms | train, prune |" in text
    assert "- accuracy 90.00% → 71.00%" in text
    assert "- model bytes: &lt;b>9,000&lt;/b> \\| of 8,000" in text
    assert "> ledger.jsonl: line 3" in text


def test_what_was_not_run_is_said() -> None:
    stopped = night(entry("good", "worse"), left_out=("bad",))
    assert headline(stopped) == "1 worse; 1 not run"
    assert "bad" in summary_markdown(stopped).split("Not run")[1]
    assert "Not run, because one before failed: bad." in night_page(stopped)


def test_a_trial_says_so_and_is_in_no_trend_of_another_night() -> None:
    trial = night(entry("good", "worse", tried={"nncase": "1.8"}, metrics=metrics(0.5, 1)), tried={"nncase": "1.8"})
    assert "Tried with nncase 1.8" in summary_markdown(trial)
    assert "Tried with nncase 1.8" in night_page(trial)
    (told,) = summary_json(trial)["recipes"]
    assert told["trend"][-1]["kmodel_bytes"] == 1
    assert trial.ledger.of("good")[-1].metrics["kmodel_bytes"] == 5000


def test_names_and_globs_choose_among_the_listed() -> None:
    listed = ["mini", "mini-wide", "full"]
    assert chosen(listed, []) == ("mini", "mini-wide", "full")
    assert chosen(listed, ["full", "mini*"]) == ("mini", "mini-wide", "full")
    with pytest.raises(RecipeError, match="matches no recipe"):
        chosen(listed, ["mini", "other*"])


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    if chromium() is None:
        pytest.skip("chromium and chromium-driver are not installed")
    with browser() as opened:
        yield opened


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_the_page_is_sound_at_every_width(driver: Chrome, tmp_path: Path, size: tuple[int, int]) -> None:
    file = tmp_path / "summary.html"
    file.write_text(night_page(bad_night()))
    opened = open_page(driver, file, size)
    assert_sound(opened)
    assert_plots_are_drawn(opened, 3)
    assert opened.ask("document.querySelector('.change.worse').innerText").startswith("accuracy 90.00% → 71.00%")
    shown = opened.ask("document.querySelector('.verdict').innerText")
    assert "1 same, 1 worse, 1 rejected" in shown.lower()
    assert "90.00% → 71.00%" in shown
    assert "<b>9,000</b>" in shown
    assert 0 < opened.bottom(".verdict") <= opened.ask("innerHeight")


def test_figures_that_never_change_have_bearable_axes(driver: Chrome, tmp_path: Path) -> None:
    nights = [entry("good", "same", day, metrics=metrics(1.0, 12712)) for day in range(1, 9)]
    file = tmp_path / "summary.html"
    file.write_text(night_page(Night(plan(), tuple(nights[-1:]), (), Ledger(tuple(nights), ()))))
    opened = open_page(driver, file, DESK)
    assert_sound(opened)
    accuracies, sizes = (
        opened.ask(f"[...document.querySelectorAll('.plot .{axis}tick text')].map((each) => each.textContent)")
        for axis in ("y", "y2")
    )
    assert accuracies[-1] == "100.0%", "no accuracy is above all"
    assert len(sizes) > 1
    assert max(map(len, sizes)) < 7, "no fractions of a byte"
