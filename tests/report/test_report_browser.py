"""Pages opened in a headless Chromium, at the width of a desk and of a phone: the largest and oddest ones there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import DESK, PHONE, browser, chromium, open_page
from kpu.prediction_networks import ALL_KPU, Builder
from pages import assert_plots_are_drawn, assert_sound, assert_verdict_above_the_fold
from PIL import Image
from report_samples import FULL, picture
from search_samples import search_report
from selenium.webdriver import Chrome

from pipeline.firmware.predicted import check_for, chosen_profiles
from pipeline.kpu.check import check_network
from pipeline.recipe import Target
from pipeline.report.answers import MOST_CLASSES
from pipeline.report.check_page import check_page
from pipeline.report.page import page
from pipeline.report.results import RunResults

ROOT = Path(__file__).parents[2]
ENDS_SCRIPT = "</script><script>window.hacked = true</script>"
LARGEST_PAGE = 6_000_000
SIDES = ("right", "top", "bottom")

pytestmark = pytest.mark.skipif(chromium() is None, reason="chromium and chromium-driver are not installed")


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    with browser() as opened:
        yield opened


def largest() -> RunResults:
    """MobileNet, as many classes as a matrix is shown for, 24 pictures that nothing makes smaller, a long search."""
    network = check_network(ALL_KPU["mobilenet"]().model(), 4)
    layers = [layer.name for layer in network.network.layers]
    names = [f"a class with a rather long name, number {number}" for number in range(MOST_CLASSES)]
    tried = {"rule": "large-kernel", "kind": "learned", "why": "no: " + "3×3 is a kernel of the KPU, " * 3}
    reports = {
        "search": search_report(evaluated=100, rejected=1000, stopped=100, groups=40),
        "replace": {"layers": [{"name": name, "op": "Conv2d", "tried": [tried] * 9, "becomes": []} for name in layers]},
        "evaluate": {
            **FULL.reports["evaluate"],
            "labels": names,
            "confusion": [[1000] * MOST_CLASSES] * MOST_CLASSES,
            "layers": [{"layer": f"{name} {ENDS_SCRIPT}", "snr_db": 30.0, "cosine": 0.99} for name in layers * 3],
        },
    }
    pictures = tuple(picture(number, side=96, channels=3) for number in range(24))
    return replace(FULL, reports={**FULL.reports, **reports}, before=network, after=network, pictures=pictures)


PAGES = {
    "full": lambda: page(FULL),
    "largest": lambda: page(largest()),
    "nothing has run": lambda: page(RunResults("empty")),
}
DRAWN = {"full": 2, "largest": 6, "nothing has run": 0}
"""Plots of each page."""


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("name", PAGES)
def test_a_report_is_sound_at_every_width(driver: Chrome, tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    file = tmp_path / "report.html"
    file.write_text(PAGES[name]())
    assert file.stat().st_size < LARGEST_PAGE
    opened = open_page(driver, file, size)
    assert_sound(opened)
    assert opened.ask("window.hacked") is None
    if name != "nothing has run":
        assert_verdict_above_the_fold(opened, "Rejected")
    assert_plots_are_drawn(opened, DRAWN[name])


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("firmware", [None, "maixpy-full", "all"])
def test_the_page_of_check_is_sound_at_every_width(
    driver: Chrome, tmp_path: Path, firmware: str | None, size: tuple[int, int]
) -> None:
    net = Builder(3, 64, 64).conv(16, 5).conv(32).pool().residual().head(5)
    found = check_for(net.model(), chosen_profiles(firmware, ROOT), Target(firmware=firmware or ""), ROOT, raw=True)
    file = tmp_path / "check.html"
    file.write_text(check_page(found, "a_network_with_a_long_name_and_nowhere_to_break_it_on_a_small_screen.onnx"))
    assert_sound(open_page(driver, file, size))


def test_whatever_finds_its_way_into_a_page_loads_nothing(driver: Chrome, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(FULL).replace("</main>", '<img alt="x" src="http://127.0.0.1:9/x.png"></main>'))
    opened = open_page(driver, file, DESK)
    assert "Content Security Policy" in " ".join(opened.console)
    assert opened.ask("document.querySelector('img[alt=x]').naturalWidth") == 0


def test_plots_take_the_width_of_paper_and_of_the_screen_again(driver: Chrome, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(FULL))
    opened = open_page(driver, file, DESK)
    driver.execute_script(
        "addEventListener('beforeprint', () => { window.printed = places.map((e) => e.layout.width) })"
    )
    assert opened.printed().startswith(b"%PDF")
    assert all(width < 700 for width in opened.ask("window.printed"))
    assert_plots_are_drawn(opened, 2)


def test_colours_follow_the_readers_choice(driver: Chrome, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(FULL))
    seen = []
    for dark in (False, True):
        opened = open_page(driver, file, DESK, dark=dark)
        style = "getComputedStyle(document.querySelector({!r})).{}".format
        background, text, label = (
            opened.ask(style(selector, what))
            for selector, what in (("body", "backgroundColor"), ("body", "color"), (".plot .ytick text", "fill"))
        )
        assert label == text
        seen.append(background)
    assert seen[0] != seen[1]


def test_on_a_phone_checksums_take_the_width_of_the_screen(driver: Chrome, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(FULL))
    opened = open_page(driver, file, PHONE)
    width = opened.ask("document.querySelector('.provenance dd').getBoundingClientRect().width")
    assert width > 0.8 * PHONE[0]


def test_a_box_that_scrolls_shows_on_which_side_there_is_more(driver: Chrome, tmp_path: Path) -> None:
    file, shot = tmp_path / "report.html", tmp_path / "shot.png"
    file.write_text(page(FULL))
    opened = open_page(driver, file, PHONE)
    box = "[...document.querySelectorAll('.wide')].find((each) => each.scrollWidth > each.clientWidth + 60)"

    def edge() -> int:
        """How bright the box's right edge is, where no letter stands."""
        right, top, bottom = (round(opened.ask(f"{box}.getBoundingClientRect().{side}")) for side in SIDES)
        opened.screenshot(shot)
        with Image.open(shot) as image:
            column = [image.convert("L").getpixel((right - 2, row)) for row in range(top + 2, bottom - 2)]
        return max(column)

    page_colour = 252  # of #fcfcfa
    assert edge() < page_colour - 20
    driver.execute_script(f"{box}.scrollLeft = 1e6")
    assert edge() >= page_colour - 2
