"""A headless Chromium that opens pages as a reader would, and tells what it logged and asked the network for."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

PHONE, DESK = (390, 844), (1280, 800)
"""Widths and heights of what people read on, in CSS pixels."""


def chromium() -> tuple[str, str] | None:
    """Chromium and its driver, as Debian's packages ``chromium`` and ``chromium-driver`` install them; None without."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


@dataclass(frozen=True)
class Opened:
    """A page that is open and has come to rest.

    Attributes:
        driver: the browser, for questions of one's own.
        console: what it logged: errors, warnings, refused loads.
        requests: addresses that it asked for, but for the page itself.
    """

    driver: Chrome
    console: list[str]
    requests: list[str]

    def ask(self, script: str) -> Any:
        """Evaluate JavaScript."""
        return self.driver.execute_script(f"return {script}")

    def bottom(self, selector: str) -> float:
        """The lower edge of the first element of a selector, in pixels from the top of the page."""
        return float(self.ask(f"document.querySelector({selector!r}).getBoundingClientRect().bottom + scrollY"))

    def screenshot(self, path: Path) -> None:
        """Write the whole page as PNG, as high as it is."""
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(shot["data"]))

    def printed(self) -> bytes:
        """The page as PDF on A4."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True}
        return base64.b64decode(self.driver.execute_cdp_cmd("Page.printToPDF", paper)["data"])


@contextmanager
def browser() -> Iterator[Chrome]:
    """Yield a Chromium that can reach nothing but files."""
    found = chromium()
    assert found is not None
    options = ChromeOptions()
    options.binary_location = found[0]
    # Containers run tests as root and with little shared memory.
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--disable-gpu"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(executable_path=found[1]))
    try:
        yield driver
    finally:
        driver.quit()


def open_page(driver: Chrome, path: Path, size: tuple[int, int], *, dark: bool = False) -> Opened:
    """Open a file at a size in CSS pixels, and wait for its scripts."""
    width, height = size
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    theme = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", theme)
    for log in ("browser", "performance"):
        driver.get_log(log)  # what earlier pages left
    address = path.resolve().as_uri()
    driver.get(address)
    console = [entry["message"] for entry in driver.get_log("browser")]
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [
        message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"
    ]
    return Opened(driver, console, [each for each in asked if each != address and not each.startswith("data:")])
