"""Draw the picture of the browser view: a CT, analysed, the heat map of its most probable finding shown.

Usage: PYTHONPATH=tests web_picture.py VIEW.png CT [--model MODEL] [--finding NAME]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from support.browsing import Watched
from support.browsing import browsing
from support.browsing import chromium
from support.serving import served_process


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("ct", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--finding", default="")
    arguments = parser.parse_args()
    executable = chromium()
    if executable is None:
        sys.exit("No Chromium on this machine: run make test-web first.")
    with tempfile.TemporaryDirectory() as state, browsing(executable) as browser:
        options = ["--web", str(arguments.ct)]
        with served_process(arguments.model, state=Path(state), options=options) as server:
            draw(Watched(browser, width=1400, height=880), server.url, arguments.target, arguments.finding)


def draw(watched: Watched, url: str, target: Path, finding: str) -> None:
    """Analyse, click a finding, draft a report, and write what the window shows."""
    watched.open(url)
    watched.analyse()
    watched.page.click("#draft")
    watched.wait("#report h3")
    watched.idle()
    watched.page.locator(f'.finding:has-text("{finding}")').first.click()
    watched.wait("#heat-caption:has-text('peak')")
    watched.idle()
    watched.page.evaluate("document.querySelector('aside').scrollTop = 0")
    watched.page.screenshot(path=target)


if __name__ == "__main__":
    main()
