"""`colipri demo`: the viewer with a CT, analysed just as clicks would; as a window, or drawn into a picture."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from colipri_core.errors import Cancelled
from colipri_core.errors import InputError
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from napari_colipri.display import has_display
from napari_colipri.display import virtual_display
from napari_colipri.menu import PLUGIN
from napari_colipri.menu import WIDGET

if TYPE_CHECKING:
    import napari.viewer

    from napari_colipri.dock import ColipriDock

SIZE = (1600, 1000)
"""Width and height of the window in pixels."""

_SETTLE_S = 0.6
_POLL_S = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo showed.

    Args:
        case: Name of the CT.
        model: The model's notice.
        top_finding: Name of the most probable finding.
        screenshot: The picture that was written, None for a window.
    """

    case: str
    model: str
    top_finding: str
    screenshot: Path | None


def run(
    ct: Path | None = None,
    *,
    screenshot: Path | None = None,
    model: str = "tiny",
    device: str = "auto",
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> DemoResult:
    """Open the viewer with a CT: findings listed, heat map of the first shown, structures outlined.

    With a display and no `screenshot` the window stays until it is closed. Otherwise the same window is drawn into a
    picture, on a virtual display if there is no other.

    Args:
        ct: Volume to open; None opens the generated sample.
        screenshot: PNG to write.
        model: Shipped bundle's name, bundle folder or hub id.
        device: Where the model runs.
        progress: Receives (fraction, message).
        cancel: Cancels the work.

    Raises:
        InputError: If there is no display and no `screenshot` path, or the CT cannot be read.
        MissingDependencyError: If there is no display and Xvfb is not installed.
        ColipriError: What loading or running the model raises.
        Cancelled: If `cancel` was set or the window was closed before the work ended.
    """
    if screenshot is None and not has_display():
        msg = "Expected a display to open the viewer on, found none. Give a picture to draw it into: --screenshot F.png"
        raise InputError(msg)
    with virtual_display() if not has_display() else contextlib.nullcontext():
        import napari

        viewer = napari.Viewer(show=False)
        try:
            result = _show(viewer, ct, _Settings(model=model, device=device, progress=progress, cancel=cancel))
            if screenshot is None:
                napari.run()
                return result
            screenshot.parent.mkdir(parents=True, exist_ok=True)
            viewer.screenshot(str(screenshot), canvas_only=False, flash=False)
            return dataclasses.replace(result, screenshot=screenshot)
        finally:
            if screenshot is not None:
                viewer.close()
                _process_events()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Settings:
    model: str
    device: str
    progress: ProgressCallback | None
    cancel: CancelToken | None
