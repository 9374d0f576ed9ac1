"""`colipri doctor`: whether this machine can run the package, and the fix for what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colipri_core.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from colipri_core.cli.checks import Check


def doctor(
    *,
    model: options.Model = "tiny",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Check the installation, with fixes.

    Exit status 1 if something that analysis needs is missing.
    """
    from colipri_core.cli.checks import all_checks
    from colipri_core.cli.terminal import Terminal

    terminal = Terminal(json=json, quiet=quiet)
    checks = all_checks(model, device)
    failed = any(check.state == "failed" for check in checks)
    document = {"ok": not failed, "checks": [check.to_json() for check in checks]}
    terminal.result(document, lambda: _table(checks))
    return 1 if failed else 0


def _table(checks: Sequence[Check]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None)
    for heading in ("", "check", "found", "fix"):
        table.add_column(heading)
    for check in checks:
        table.add_row(check.state, check.name, check.found, check.fix)
    return table
