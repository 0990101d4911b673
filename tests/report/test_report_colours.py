"""Text and plots stand out from what is behind them, by the ratios of WCAG 2 (level AA)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.report import plots

STYLE = (Path(plots.__file__).parent / "templates" / "style.css").read_text()
THEMES = [
    dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.S)
]
TEXT = ("ink", "soft", "good", "bad", "accent", "warn")
TEXT_RATIO, SHAPE_RATIO = 4.5, 3.0


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[index : index + 2], 16) / 255 for index in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_by_hand() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_there_are_colours_for_light_dark_and_paper() -> None:
    assert len(THEMES) == 3
    assert len({theme["page"] for theme in THEMES}) == 3


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark", "paper"])
def test_text_and_shapes_stand_out(theme: dict[str, str]) -> None:
    for behind in ("page", "card"):
        for name in TEXT:
            assert contrast(theme[name], theme[behind]) >= TEXT_RATIO, (name, behind)
    for colour in (plots.FIRST, plots.SECOND, plots.THIRD):
        assert contrast(colour, theme["page"]) >= SHAPE_RATIO
