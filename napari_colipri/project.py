"""A folder of scans in the viewer, one at a time: open, step on, mark. No Qt; the panel listens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.project import LabelProject
from colipri_core.project import Mark
from colipri_core.volume import Volume
from napari_colipri.reader import layer_data
from napari_colipri.reader import read_series
from napari_colipri.source import layer_source
from napari_colipri.work import Job
from napari_colipri.work import Runner

if TYPE_CHECKING:
    import napari.components

    from colipri_core.errors import InputError
    from napari_colipri.backend import Backend
    from napari_colipri.backend import ModelChoice


class ProjectDesk:
    """The project that is worked on, and which of its cases is in the viewer.

    Args:
        viewer: The viewer.
        backend: Is told where edits of the project are saved.
        runner: Reads scans in the background.
        choice: Says which model is set.
    """

    changed = Signal()
    failed = Signal(object)

    def __init__(
        self,
        viewer: napari.components.ViewerModel,
        backend: Backend,
        runner: Runner,
        *,
        choice: Callable[[], ModelChoice],
    ) -> None:
        self.project: LabelProject | None = None
        self.current: str | None = None
        self._viewer = viewer
        self._backend = backend
        self._runner = runner
        self._choice = choice

    def open(self, folder: Path) -> None:
        """Work on a folder, beginning with its first case that is to be done.

        Args:
            folder: The folder of scans.

        Raises:
            UnreadableInputError: If it is no folder of scans.
        """
        self.project, self.current = LabelProject(folder), None
        self._backend.edits_folder = self.project.edits
        self.go(self.project.next_open() or self.project.step(None, 1))

    def go(self, name: str | None) -> bool:
        """Show a case in place of the one that is shown.

        Args:
            name: The case; None stays where it is.

        Returns:
            False if nothing was started: no such case, or other work is running.
        """
        if self.project is None or name is None:
            return False
        path = self.project.path(name)

        def work(progress: ProgressCallback, cancel: CancelToken) -> list[Volume]:
            return read_series(path)[0]

        def done(volumes: list[Volume]) -> None:
            self._clear()
            for volume in volumes:
                data, attributes, _ = layer_data(volume)
                self._viewer.add_image(data, **attributes)
            self._viewer.reset_view()
            self.current = name
            self.changed.emit()

        started = self._runner.start(Job(title=f"Opening {name}", work=work, on_done=done))
        self.changed.emit()
        return started

    def step(self, by: int) -> bool:
        """Show the next case, or the one before.

        Args:
            by: 1 or -1.
        """
        return self.project is not None and self.go(self.project.step(self.current, by))

    def next_open(self) -> bool:
        """Show the next case that is to be done."""
        return self.project is not None and self.go(self.project.next_open(self.current))

    def mark(self, mark: Mark) -> None:
        """Mark the case that is shown; the same mark again takes it back.

        Args:
            mark: "done" or "review".

        Raises:
            OSError: If the mark cannot be saved.
        """
        if self.project is not None and self.current is not None:
            now = next(case.mark for case in self.project.cases if case.name == self.current)
            self.project.mark(self.current, "open" if now == mark else mark)
            self.changed.emit()

    def rank(self) -> bool:
        """Ask the model which cases it is least sure of; the list shows each answer as it comes, until cancelled.

        Returns:
            False if nothing was started: no project, or other work is running.
        """
        project, choice = self.project, self._choice()
        if project is None:
            return False

        def work(progress: ProgressCallback, cancel: CancelToken) -> dict[str, InputError]:
            return self._backend.rank(choice, project, progress, cancel)[1]

        def done(failed: dict[str, InputError]) -> None:
            self.changed.emit()
            for name, error in failed.items():
                self.failed.emit(type(error)(f"{name}: {error}"))

        return self._runner.start(Job(title="Ranking", work=work, on_done=done, on_stopped=self.changed.emit))

    def _clear(self) -> None:
        """Take the layers of the case before out of the viewer; layers that are not this plugin's stay.

        The topmost first: points that are drawn after a labels layer below them is gone crash some OpenGL drivers.
        """
        for layer in [layer for layer in reversed(self._viewer.layers) if layer_source(layer) is not None]:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
