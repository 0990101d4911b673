"""The page of an accepted and of a rejected run, and what DVC itself shows of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import DESK, PHONE, browser, chromium, open_page
from pages import assert_plots_are_drawn, assert_sound, assert_verdict_above_the_fold
from projects import BIN, kpufit, run, set_recipe
from selenium.webdriver import Chrome

pytestmark = pytest.mark.nncase
in_a_browser = pytest.mark.skipif(chromium() is None, reason="chromium and chromium-driver are not installed")

SECTIONS = ["path", "checks", "network", "pruned", "replaced", "memory", "quantised", "answers", "provenance"]
LARGEST_PAGE = 6_000_000


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def rejected(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished project under git, and then rejected: no pruning brings it down to the budget."""
    project = tmp_path_factory.mktemp("rejected") / "project"
    shutil.copytree(finished, project, symlinks=True)
    config = project / ".dvc" / "config"
    config.write_text(config.read_text().replace("no_scm = true", "no_scm = false"))
    (project / ".gitignore").write_text("/out/\n/pipeline/\n")
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=project, check=True, capture_output=True)
    set_recipe(project, "target", model_bytes=2000)
    done = kpufit(project, "run")
    assert done.returncode == 1, done.stderr
    return project


def sound(driver: Chrome, project: Path, verdict: str) -> None:
    """The recipe's page is whole at both widths and says the verdict first."""
    page = project / "out" / "tiny" / "report.html"
    assert page.stat().st_size < LARGEST_PAGE
    for size in (DESK, PHONE):
        opened = open_page(driver, page, size)
        assert_sound(opened)
        assert_verdict_above_the_fold(opened, verdict)
        assert_plots_are_drawn(opened, 2)
        shown = "[...document.querySelectorAll('main > section')].filter((each) => each.offsetHeight > 60)"
        assert opened.ask(f"{shown}.map((each) => each.getAttribute('aria-labelledby'))") == SECTIONS
        if size == DESK:
            widths = [f"document.querySelector({each!r}).offsetWidth" for each in (".fates", "main")]
            assert opened.ask(" <= ".join(widths))


@in_a_browser
def test_the_page_of_an_accepted_kmodel(driver: Chrome, finished: Path) -> None:
    sound(driver, finished, "Accepted")


@in_a_browser
def test_the_page_of_a_rejected_kmodel(driver: Chrome, rejected: Path) -> None:
    sound(driver, rejected, "Rejected")
    opened = open_page(driver, rejected / "out" / "tiny" / "report.html", PHONE)
    assert "over the recipe's budget of 2,000" in opened.ask("document.querySelector('.verdict').innerText")


def test_every_convolution_has_its_error_by_name(finished: Path) -> None:
    evaluated = json.loads((finished / "out/tiny/evaluate/report.json").read_text())
    kmodel = json.loads((finished / "out/tiny/convert/report.json").read_text())
    layers = evaluated["layers"]
    assert len(layers) == len(kmodel["layers"])
    assert {"stem_conv", "conv2_conv", "conv4_conv"} <= {layer["layer"] for layer in layers}
    assert all(layer["snr_db"] > 10 and layer["cosine"] > 0.9 for layer in layers)
    # The wrong map of the right shape would go with the codes far less closely than quantisation makes it.
    assert np.median([layer["cosine"] for layer in layers]) > 0.99


def test_the_pictures_are_those_that_are_newly_wrong(rejected: Path) -> None:
    evaluated = json.loads((rejected / "out/tiny/evaluate/report.json").read_text())
    with np.load(rejected / "out/tiny/evaluate/mistakes.npz", allow_pickle=False) as file:
        count, actual, answer = len(file["images"]), file["actual"], file["answer"]
    assert count == 24 < evaluated["newly_wrong"]
    assert (actual != answer).all()
    metrics = json.loads((rejected / "out/tiny/evaluate/metrics.json").read_text())
    gained = (metrics["kmodel_accuracy"] - metrics["float_accuracy"]) * metrics["test_images"]
    assert evaluated["newly_right"] - evaluated["newly_wrong"] == round(gained)


def test_dvc_draws_its_plots_and_compares_metrics(rejected: Path, tmp_path: Path) -> None:
    shown = run(rejected, BIN / "dvc", "plots", "show", "-o", str(tmp_path / "plots"))
    assert shown.returncode == 0, shown.stderr
    drawn = (tmp_path / "plots" / "index.html").read_text()
    for name in ("confusion", "per_class", "layer_errors"):
        assert f"evaluate_{name}_csv" in drawn
    compared = run(rejected, BIN / "dvc", "metrics", "diff", "--json")
    assert compared.returncode == 0, compared.stderr
    assert json.loads(compared.stdout)["out/tiny/gate/metrics.json"]["accepted"] == {
        "old": 1, "new": 0, "diff": -1
    }  # fmt: skip
