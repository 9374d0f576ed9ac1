"""A folder of scans in the viewer, one at a time: open, step on, mark. No Qt; the panel listens."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from psygnal import Signal

from colipri_core.errors import ColipriError
from colipri_core.errors import InputError
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.project import LabelProject
from colipri_core.project import Mark
from colipri_core.volume import Volume
from napari_colipri.reader import layer_data
from napari_colipri.reader import notify
from napari_colipri.reader import read_series
from napari_colipri.source import METADATA_KEY
from napari_colipri.source import ProjectScan
from napari_colipri.source import layer_source
from napari_colipri.work import Job
from napari_colipri.work import Runner

if TYPE_CHECKING:
    from napari_colipri.workflow import Workflow

BUSY = "Other work is running. Wait for it or cancel it, then press again."


class ProjectDesk:
    """The project that is worked on, and which of its cases is in the viewer.

    Args:
        workflow: Knows the viewer, the chosen CT and model.
        runner: Reads scans in the background.

    Attributes:
        project: The project, None before one was opened.
        current: The case that was shown last.
        unread: The case that was to be shown after it and could not be read, if that is how things stand.
    """

    changed = Signal()
    failed = Signal(object)

    def __init__(self, workflow: Workflow, runner: Runner) -> None:
        self.project: LabelProject | None = None
        self.current: str | None = None
        self.unread: str | None = None
        self._workflow = workflow
        self._viewer = workflow.viewer
        self._runner = runner

    @property
    def place(self) -> str | None:
        """The case one stands at: steps go on from it."""
        return self.unread or self.current

    @property
    def markable(self) -> str | None:
        """The case that is marked: the one that could not be read, or the one whose scan is the chosen CT."""
        if self.project is None or self.unread is not None:
            return self.unread
        layer = self._workflow.layer
        source = layer_source(layer) if layer is not None else None
        scan = source.project if source is not None else None
        return scan.name if scan is not None and scan.folder == self.project.folder else None

    def open(self, folder: Path) -> bool:
        """Work on a folder, beginning with its first case that is to be done.

        Args:
            folder: The folder of scans.

        Returns:
            False if nothing was started because other work is running.

        Raises:
            UnreadableInputError: If it is no folder of scans.
        """
        project = LabelProject(folder)
        return self._show(project, project.next_open() or project.step(None, 1))

    def go(self, name: str | None) -> bool:
        """Show a case in place of the one that is shown.

        Args:
            name: The case; None stays where it is.

        Returns:
            False if nothing was started: no such case, or other work is running, which is then said.
        """
        return self.project is not None and self._show(self.project, name)

    def step(self, by: int) -> bool:
        """Show the next case, or the one before.

        Args:
            by: 1 or -1.
        """
        return self.project is not None and self.go(self.project.step(self.place, by))

    def next_open(self) -> bool:
        """Show the next case that is to be done."""
        return self.project is not None and self.go(self.project.next_open(self.place))

    def mark(self, mark: Mark) -> None:
        """Mark the case one stands at; the same mark again takes it back. Another scan than the project's has no mark.

        Args:
            mark: "done" or "review".

        Raises:
            OSError: If the mark cannot be saved.
        """
        name = self.markable
        if self.project is not None and name is not None:
            now = next(case.mark for case in self.project.cases if case.name == name)
            self.project.mark(name, "open" if now == mark else mark)
            self.changed.emit()

    def rank(self) -> bool:
        """Ask the model which cases it is least sure of; the list shows each answer as it comes, until cancelled.

        Returns:
            False if nothing was started: no project, or other work is running.
        """
        project, choice, backend = self.project, self._workflow.choice, self._workflow.backend
        if project is None:
            return False

        def work(progress: ProgressCallback, cancel: CancelToken) -> dict[str, InputError]:
            return backend.rank(choice, project, progress, cancel)[1]

        def done(failed: dict[str, InputError]) -> None:
            self.changed.emit()
            for name, error in failed.items():
                self.failed.emit(type(error)(f"{name}: {error}"))

        return self._start(Job(title="Ranking", work=work, on_done=done, on_stopped=self.changed.emit))

    def _show(self, project: LabelProject, name: str | None) -> bool:
        """Read a case; the project becomes the desk's once its scan is there, or turned out to be unreadable."""
        if name is None:
            return False
        path, unreadable = project.path(name), False

        def work(progress: ProgressCallback, cancel: CancelToken) -> tuple[list[Volume], list[str]]:
            nonlocal unreadable
            try:
                return read_series(path)
            except InputError:
                unreadable = True
                raise

        def done(read: tuple[list[Volume], list[str]]) -> None:
            volumes, messages = read
            self._clear()
            self.project, self.current, self.unread = project, name, None
            layers = [self._viewer.add_image(**self._layer(volume, number)) for number, volume in enumerate(volumes)]
            self._workflow.choose(layers[0])
            self._viewer.reset_view()
            notify(messages)
            self.changed.emit()

        def stopped() -> None:
            if unreadable:
                self.current = self.current if project is self.project else None
                self.project, self.unread = project, name
            self.changed.emit()

        started = self._start(Job(title=f"Opening {name}", work=work, on_done=done, on_stopped=stopped))
        self.changed.emit()
        return started

    def _start(self, job: Job) -> bool:
        started = self._runner.start(job)
        if not started:
            self.failed.emit(ColipriError(BUSY))
        return started

    def _layer(self, volume: Volume, series: int) -> dict[str, Any]:
        """A scan of the project as an image layer that knows which it is."""
        assert self.project is not None
        assert self.current is not None
        scan = ProjectScan(folder=self.project.folder, name=self.current, series=series, edits=self.project.edits)
        data, attributes, _ = layer_data(volume)
        source = dataclasses.replace(attributes["metadata"][METADATA_KEY], project=scan)
        return {"data": data, **attributes, "metadata": {METADATA_KEY: source}}

    def _clear(self) -> None:
        """Take the layers of the case before out of the viewer; layers that are not this plugin's stay.

        The topmost first: points that are drawn after a labels layer below them is gone crash some OpenGL drivers.
        """
        for layer in [layer for layer in reversed(self._viewer.layers) if layer_source(layer) is not None]:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
