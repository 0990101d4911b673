"""What every page must be like when it is opened in a browser."""

from __future__ import annotations

from browser import Opened

STICKS_OUT = """[...document.querySelectorAll("body *")]
  .filter((each) => !each.closest(".wide, pre, .unseen, .defs, #js-plotly-tester, .js-plotly-plot"))
  .filter((each) => {
    const {left, right, width} = each.getBoundingClientRect();
    return width && (right > innerWidth + 1 || left < -1);
  })
  .map((each) => each.outerHTML.slice(0, 120))"""
"""Elements that leave the screen on a side, but for those in a box that scrolls."""

OVERLAPS = """(() => {
  const blocks = [...document.querySelectorAll("main > section > *, header > *, nav, main > section")]
    .filter((each) => each.getBoundingClientRect().height);
  return blocks.flatMap((one, index) => blocks.slice(index + 1)
    .filter((other) => !one.contains(other) && !other.contains(one))
    .filter((other) => {
      const a = one.getBoundingClientRect(), b = other.getBoundingClientRect();
      return a.top < b.bottom - 1 && b.top < a.bottom - 1 && a.left < b.right - 1 && b.left < a.right - 1;
    })
    .map((other) => one.outerHTML.slice(0, 80) + " / " + other.outerHTML.slice(0, 80)));
})()"""
"""Pairs of blocks that lie on one another."""

LABELS_OVERLAP = """[...document.querySelectorAll(".plot .ytick text")].map((each) => each.getBoundingClientRect())
  .filter((box, index, all) => all.slice(index + 1).some((other) =>
    box.top < other.bottom - 1 && other.top < box.bottom - 1 && box.left < other.right && other.left < box.right
  )).length"""

TITLES_OVERLAP = """[...document.querySelectorAll(".plot .ytitle, .plot .y2title")].filter((title) =>
  [...title.closest(".plot").querySelectorAll(".ytick text, .y2tick text")].some((label) => {
    const a = title.getBoundingClientRect(), b = label.getBoundingClientRect();
    return a.top < b.bottom && b.top < a.bottom && a.left < b.right && b.left < a.right;
  })).length"""
"""Titles of axes that lie on an axis' labels."""

UNNAMED = """[
  ...[...document.querySelectorAll("img")].filter((each) => !each.alt),
  ...[...document.querySelectorAll("table")].filter((each) => !each.caption?.textContent.trim()),
  ...[...document.querySelectorAll("[role=img], [role=group], nav, .wide > svg")]
    .filter((each) => !each.getAttribute("aria-label")),
  ...[...document.querySelectorAll("section")]
    .filter((each) => !document.getElementById(each.getAttribute("aria-labelledby"))?.textContent.trim()),
  ...[...document.querySelectorAll("th")].filter((each) => !each.scope),
].map((each) => each.outerHTML.slice(0, 120))"""
"""What a screen reader could not name: pictures, tables, plots, landmarks, headings of cells."""


def assert_sound(page: Opened) -> None:
    """Nothing is logged or asked for, nothing leaves the screen or lies on something else, everything has a name."""
    assert page.console == []
    assert page.requests == []
    assert page.ask("document.documentElement.scrollWidth") <= page.ask("innerWidth")
    assert page.ask(STICKS_OUT) == []
    assert page.ask(OVERLAPS) == []
    assert page.ask(LABELS_OVERLAP) == 0
    assert page.ask(TITLES_OVERLAP) == 0
    assert page.ask(UNNAMED) == []
    for landmark in ("header", "main"):
        assert page.ask(f"document.querySelectorAll({landmark!r}).length") == 1
    assert page.ask("document.documentElement.lang") == "en"


def assert_verdict_above_the_fold(page: Opened, words: str) -> None:
    """The verdict and the memory bar are on the first screen."""
    assert page.ask("document.querySelector('.verdict strong').innerText") == words
    for selector in (".verdict strong", ".memory"):
        assert 0 < page.bottom(selector) <= page.ask("innerHeight")
    width = page.ask("document.querySelector('.memory').getBoundingClientRect().width")
    assert width > 0.7 * min(page.ask("innerWidth"), 1120)


def assert_plots_are_drawn(page: Opened, count: int) -> None:
    """Every plot fills its place."""
    places = "[...document.querySelectorAll('.plot')]"
    width = "getBoundingClientRect().width"
    drawn = page.ask(f"{places}.map((each) => each.querySelector('.main-svg')?.{width})")
    assert len(drawn) == count
    assert drawn == page.ask(f"{places}.map((each) => each.{width})")
