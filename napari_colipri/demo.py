"""`colipri demo`: the viewer with a CT, analysed just as clicks would; as a window, or drawn into a picture."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from collections.abc import Iterator
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

SAMPLE_KEY = "phantom-chest"

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
    options = DemoOptions(model=model, device=device, progress=progress, cancel=cancel or CancelToken())
    with contextlib.nullcontext() if has_display() else virtual_display():
        return _run_on_display(ct, screenshot, options)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What runs in the demo.

    Args:
        model: Shipped bundle's name, bundle folder or hub id.
        device: Where the model runs.
        progress: Receives (fraction, message).
        cancel: Cancels the work.
    """

    model: str = "tiny"
    device: str = "auto"
    progress: ProgressCallback | None = None
    cancel: CancelToken = dataclasses.field(default_factory=CancelToken)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A window with an analysed CT.

    Args:
        viewer: The viewer.
        dock: The dock in it.
        result: What is shown.
        settle: Keeps the window alive until its jobs are done and it is painted.
    """

    viewer: napari.viewer.Viewer
    dock: ColipriDock
    result: DemoResult
    settle: Callable[[], None]


@contextlib.contextmanager
def analysed(ct: Path | None, options: DemoOptions) -> Iterator[Scene]:
    """Open a window with a CT, analysed, the heat map of the first finding shown; it closes with the context.

    Args:
        ct: Volume to open; None opens the generated sample.
        options: What runs.
    """
    import napari

    viewer = napari.Viewer(show=False)
    try:
        viewer.show()
        viewer.window.resize(*SIZE)
        dock = _open(viewer, ct, options)
        _process_events(_SETTLE_S)
        viewer.reset_view()
        errors: list[Exception] = []
        dock.jobs.failed.connect(errors.append)

        def settle() -> None:
            _wait(dock, options, errors)
            _process_events(_SETTLE_S)

        yield Scene(viewer=viewer, dock=dock, result=_analyse(dock, options, errors), settle=settle)
    finally:
        with contextlib.suppress(RuntimeError):
            viewer.close()
        _process_events(0.0)


def _run_on_display(ct: Path | None, screenshot: Path | None, options: DemoOptions) -> DemoResult:
    import napari

    with analysed(ct, options) as scene:
        if screenshot is None:
            napari.run()
            return scene.result
        _process_events(_SETTLE_S)
        screenshot.parent.mkdir(parents=True, exist_ok=True)
        scene.viewer.screenshot(str(screenshot), canvas_only=False, flash=False)
        return dataclasses.replace(scene.result, screenshot=screenshot)


def _open(viewer: napari.viewer.Viewer, ct: Path | None, options: DemoOptions) -> ColipriDock:
    if ct is None:
        viewer.open_sample(PLUGIN, SAMPLE_KEY)
    else:
        viewer.open(str(ct), plugin=PLUGIN)
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    dock.model_panel.set_choice(options.model, options.device)
    if options.progress is not None:
        dock.jobs.progressed.connect(options.progress)
    return dock


def _analyse(dock: ColipriDock, options: DemoOptions, errors: list[Exception]) -> DemoResult:
    dock.model_panel.analyse.click()
    _wait(dock, options, errors)
    case = dock.workflow.case
    if case is None or dock.workflow.info is None:
        msg = "The work was cancelled before there was anything to show."
        raise Cancelled(msg)
    top = case.rows[0].name
    dock.findings_panel.chosen.emit(top)
    _wait(dock, options, errors)
    return DemoResult(
        case=case.source.volume.name, model=dock.workflow.info.card.notice, top_finding=top, screenshot=None
    )


def _wait(dock: ColipriDock, options: DemoOptions, errors: list[Exception]) -> None:
    """Keep the window alive until its job is done, as the event loop would."""
    while dock.jobs.busy and not dock.closed:
        if options.cancel.cancelled:
            dock.jobs.cancel()
        _process_events(_POLL_S)
    if errors:
        raise errors[0]
    if dock.closed:
        msg = "The window was closed before the work ended."
        raise Cancelled(msg)
    options.cancel.check()


def _process_events(seconds: float) -> None:
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while True:
        QApplication.processEvents()
        if time.monotonic() >= end:
            return
        time.sleep(min(_POLL_S, seconds))
