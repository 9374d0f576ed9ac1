"""`colipri demo`: the viewer with an analysed CT."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from colipri_core.cli import options

_VIEWER = "napari_colipri"


def demo(
    ct: Annotated[
        Path | None, typer.Argument(metavar="CT", help="CT volume; a generated one if none.", show_default=False)
    ] = None,
    *,
    screenshot: Annotated[
        Path | None,
        typer.Option(
            "--screenshot",
            metavar="PNG",
            help="Render the window to this PNG instead of showing it.",
            show_default=False,
        ),
    ] = None,
    model: options.Model = "tiny",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Open napari with an analysed CT.

    With --screenshot the same window is rendered to a file, which needs no display.
    """
    from colipri_core.cli.inputs import Inputs
    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.terminal import check_output
    from colipri_core.cli.work import controlled
    from colipri_core.errors import MissingDependencyError

    if screenshot is not None:
        check_output(screenshot, suffixes=(".png",))
        Inputs([] if ct is None else [ct]).check(screenshot)
    if importlib.util.find_spec(_VIEWER) is None or importlib.util.find_spec("napari") is None:
        msg = 'The demo needs napari, which is not installed. Install it with: pip install "napari-colipri[all]"'
        raise MissingDependencyError(msg)
    terminal = Terminal(json=json, quiet=quiet)
    with controlled(terminal) as control:
        # By name, because the core knows no viewer: this verb is the only place that starts one.
        shown = importlib.import_module(f"{_VIEWER}.demo").run(
            ct, screenshot=screenshot, model=model, device=device, progress=control.progress, cancel=control.cancel
        )
    picture = str(shown.screenshot) if shown.screenshot is not None else None
    document = {"case": shown.case, "model": shown.model, "top_finding": shown.top_finding, "screenshot": picture}
    summary = f"{shown.case}: {shown.top_finding}" + (f" -> {picture}" if picture else "")
    terminal.result(document, lambda: f"{summary}\n{shown.model}")
    return 0
