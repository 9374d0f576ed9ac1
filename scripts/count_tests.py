"""Print how many tests ran, from JUnit reports; fail when none did, so that an empty run cannot pass."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree


def main(reports: list[Path]) -> int:
    """Return 0 if in every report at least one test passed and none failed.

    Args:
        reports: Files pytest wrote with --junitxml.
    """
    good = True
    for report in reports:
        suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
        total = sum(int(suite.get("tests", 0)) for suite in suites)
        skipped = sum(int(suite.get("skipped", 0)) for suite in suites)
        bad = sum(int(suite.get(kind, 0)) for suite in suites for kind in ("failures", "errors"))
        passed = total - skipped - bad
        good = good and passed > 0 and bad == 0
        sys.stdout.write(f"{report}: {passed} tests passed, {skipped} skipped, {bad} failed\n")
    return 0 if good and reports else 1


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
