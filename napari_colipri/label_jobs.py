"""What labelling asks of a case's session, on the worker: open it, ask and edit, keep strokes, save. No Qt."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from colipri_core.editing.change import Change
from colipri_core.editing.change import EditingState
from colipri_core.editing.edits import AddObject
from colipri_core.editing.edits import Edit
from colipri_core.editing.edits import Paint
from colipri_core.errors import ColipriError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.session import Session
from napari_colipri.backend import Backend
from napari_colipri.backend import ModelInfo
from napari_colipri.case import Case
from napari_colipri.work import AtClose
from napari_colipri.work import Job
from napari_colipri.work import Runner
from napari_colipri.writer import save_session

Ask = Callable[[Session, ProgressCallback, CancelToken | None], Change]
"""Asks a session for a change, on the worker."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """The labels of a case as its session has them.

    Args:
        info: The model that was loaded.
        labelmap: Labels in layer order, a copy to paint on.
        state: Objects, prompts and history.
        key: Hash of the scan, by which its edits are found.
    """

    info: ModelInfo
    labelmap: npt.NDArray[np.uint16]
    state: EditingState
    key: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What a session made of a question.

    Args:
        change: What changed.
        state: How things stand after it.
        refused: Why a stroke was not taken; the change then holds what its box is to show.
    """

    change: Change
    state: EditingState
    refused: ColipriError | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What a session is asked for.

    Args:
        title: What is being done.
        ask: Asks.
        labels: Objects that it may make.
        quiet: Whether it is too short to be announced.
        at_close: What becomes of it if the dock is closed while it waits.
        stroke: The stroke it keeps, which is in the layer already.
    """

    title: str
    ask: Ask
    labels: tuple[int, ...] = ()
    quiet: bool = False
    at_close: AtClose = "drop"
    stroke: Paint | None = None


class LabelJobs:
    """Runs what labelling asks, in order, behind other work.

    Args:
        backend: Holds model and session.
        runner: Runs the jobs.
    """

    def __init__(self, backend: Backend, runner: Runner) -> None:
        self._backend = backend
        self._runner = runner

    def open(self, case: Case, done: Callable[[Opened], None], stopped: Callable[[], None]) -> bool:
        """Open the labels of a case, with the edits of earlier sessions.

        Args:
            case: The case.
            done: Receives them.
            stopped: Called if they could not be opened.

        Returns:
            False if no more jobs are taken.
        """

        def work(progress: ProgressCallback, cancel: CancelToken) -> Opened:
            info, session, _ = self._backend.open(case.request, Reporter(progress, cancel), cancel)
            labelmap = case.source.grid.to_layer(session.segmentation.labelmap)
            copied = np.array(labelmap, dtype=np.uint16, order="C")
            return Opened(info=info, labelmap=copied, state=session.editing, key=case.source.volume.sha256)

        return self._runner.start(Job(title="Opening labels", work=work, on_done=done, waits=True, on_stopped=stopped))

    def ask(
        self,
        case: Case,
        question: Question,
        done: Callable[[Answer], None],
        stopped: Callable[[], None],
    ) -> None:
        """Ask the session of a case.

        Args:
            case: The case.
            question: What it is asked.
            done: Receives the answer; of a stroke that was refused it is how the labels are without it.
            stopped: Called if it failed or was cancelled.
        """

        def work(progress: ProgressCallback, cancel: CancelToken) -> Answer:
            # An edit asks no model: whichever holds the session will do.
            request = case.request if question.quiet else case.question
            _, session, rest = self._backend.open(request, Reporter(progress, cancel), cancel)
            try:
                return Answer(change=question.ask(session, rest, cancel), state=session.editing)
            except ColipriError as error:
                if question.stroke is None:
                    raise
                return _refused(session, question.stroke, error)

        self._runner.start(
            Job(
                title=question.title,
                work=work,
                on_done=done,
                waits=True,
                quiet=question.quiet,
                on_stopped=stopped,
                at_close=question.at_close,
            )
        )

    def save(self, case: Case, path: Path, *, label: int) -> None:
        """Save the labels of a case.

        Args:
            case: The case.
            path: File of a labelmap, or of a surface of one object.
            label: The object.
        """

        def work(progress: ProgressCallback, cancel: CancelToken) -> Path:
            _, session, _ = self._backend.open(case.request, Reporter(progress, cancel), cancel)
            return save_session(session, path, label=label, source=case.source.volume)

        self._runner.start(
            Job(title=f"Saving {path.name}", work=work, on_done=lambda _: None, waits=True, at_close="do")
        )


def editing(edit: Edit) -> Question:
    """The question that makes an edit.

    Args:
        edit: The edit.
    """
    made = (edit.label,) if isinstance(edit, Paint | AddObject) and edit.label else ()
    return Question(
        title="Stroke" if isinstance(edit, Paint) else "Editing",
        ask=lambda session, _progress, _cancel: session.edit(edit),
        labels=made,
        quiet=True,
        at_close="do",
        stroke=edit if isinstance(edit, Paint) else None,
    )


def stepping(action: str) -> Question:
    """The question that goes a step back or forth in the history; without such a step nothing changes.

    Args:
        action: "undo" or "redo".
    """

    def ask(session: Session, _progress: ProgressCallback, _cancel: CancelToken | None) -> Change:
        waiting = session.editing.undo if action == "undo" else session.editing.redo
        if not waiting:
            return Change(label=0, action=action)
        return session.undo() if action == "undo" else session.redo()

    return Question(title=action.capitalize(), ask=ask, quiet=True, at_close="do in order")


def open_elsewhere(name: str) -> UnsupportedVolumeError:
    """The error that refuses to label a scan in a second layer: each would show a part of the same edits.

    Args:
        name: The layer in which it is being labelled.
    """
    msg = (
        f'Expected a scan that is not being labelled yet, but the labels of this one are open on the layer "{name}", '
        "which is the same scan. Choose that layer to go on, or remove it first."
    )
    return UnsupportedVolumeError(msg)


def _refused(session: Session, stroke: Paint, error: ColipriError) -> Answer:
    """The answer that takes a stroke off the layer again."""
    crop = stroke.voxels
    labels = session.segmentation.labelmap[crop.box]
    change = Change(label=stroke.label, action="refused", lower=crop.lower, upper=crop.upper, labels=labels)
    return Answer(change=change, state=session.editing, refused=error)
