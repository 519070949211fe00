"""A headless Chromium for tests: opens pages from disk and says what they logged, asked for, and look like."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service


class Browser:
    """One page at a time, in a window of a given width."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, path: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Opens a file as a screen of `width` would show it."""
        self._command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._command("Emulation.setEmulatedMedia", media="", features=[scheme])
        self.driver.get(path.resolve().as_uri())

    def run(self, script: str) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script)  # type: ignore[no-untyped-call]

    def console(self) -> list[str]:
        """Messages of the console since the last call."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def requests(self) -> list[str]:
        """Addresses that were asked for since the last call."""
        messages = [
            json.loads(entry["message"])["message"]
            for entry in self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        ]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def screenshot(self, path: Path) -> None:
        """The whole page as an image."""
        answer = self._command("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def print_pdf(self) -> bytes:
        """The page as it prints on A4."""
        answer = self._command("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=True)
        return base64.b64decode(answer["data"])

    def print_media(self) -> None:
        """From now on the page is styled as it prints."""
        self._command("Emulation.setEmulatedMedia", media="print")

    def press(self, key: str) -> None:
        """Presses a key where the focus is."""
        webdriver.ActionChains(self.driver).send_keys(key).perform()

    def _command(self, name: str, **parameters: object) -> Any:
        return self.driver.execute_cdp_cmd(name, parameters)


@contextmanager
def chromium(executable: str, driver: str) -> Iterator[Browser]:
    """A browser that is closed at the end."""
    options = webdriver.ChromeOptions()
    options.binary_location = executable
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(made)
    finally:
        made.quit()
