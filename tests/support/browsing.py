"""A real headless Chromium for tests and pictures of the browser view."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page

PATIENCE_MS = 120_000
"""Software rendering on a shared machine takes its time."""

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)


def chromium() -> str | None:
    """Path of this machine's Chromium, None without one."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@contextlib.contextmanager
def browsing(executable: str) -> Iterator[Browser]:
    """Run a browser that draws WebGL in software while the body runs."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page whose complaints and requests are kept.

    Args:
        browser: The browser.
        width: Of the window, in pixels.
        height: Of the window, in pixels.
    """

    def __init__(self, browser: Browser, *, width: int = 1440, height: int = 900) -> None:
        self.page: Page = browser.new_page(viewport={"width": width, "height": height})
        self.page.set_default_timeout(PATIENCE_MS)
        self.errors: list[str] = []
        self.addresses: list[str] = []
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.addresses.append(request.url))

    def text(self, selector: str) -> str:
        """Text of an element."""
        return self.page.inner_text(selector)

    def wait(self, selector: str) -> None:
        """Wait until an element is seen."""
        self.page.locator(selector).first.wait_for()

    def idle(self) -> None:
        """Wait until no work is shown."""
        self.page.locator("#progress").wait_for(state="hidden")

    def open(self, url: str) -> None:
        """Load the page and wait for the one case of its server."""
        self.page.goto(f"{url}/")
        self.wait('#readout:has-text("mm")')
        self.idle()

    def analyse(self) -> None:
        """Press Analyse and wait for findings and structures."""
        self.page.click("#analyse")
        self.wait(".structure")
        self.idle()
