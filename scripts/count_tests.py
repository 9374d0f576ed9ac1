"""Print how many tests ran, from a JUnit report; fail when none did, so that an empty run cannot pass."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree


def main(report: Path) -> int:
    """Return 0 if at least one test of the report ran and passed.

    Args:
        report: The file pytest wrote with --junitxml.
    """
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    total = sum(int(suite.get("tests", 0)) for suite in suites)
    skipped = sum(int(suite.get("skipped", 0)) for suite in suites)
    bad = sum(int(suite.get(kind, 0)) for suite in suites for kind in ("failures", "errors"))
    passed = total - skipped - bad
    sys.stdout.write(f"{passed} tests passed, {skipped} skipped, {bad} failed\n")
    return 0 if passed > 0 and bad == 0 else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
