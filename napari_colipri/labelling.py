"""What the label panel, the mouse and the keys lead to: prompts, strokes, undo, objects. No Qt; the panel listens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from colipri_core.editing.change import Change
from colipri_core.editing.change import EditingState
from colipri_core.editing.edits import AddObject
from colipri_core.editing.edits import Adopt
from colipri_core.editing.edits import ChangeObject
from colipri_core.editing.edits import Edit
from colipri_core.editing.edits import OverlapPolicy
from colipri_core.editing.edits import Paint
from colipri_core.editing.edits import RemoveObject
from colipri_core.editing.edits import ResetObject
from colipri_core.editing.notice import answer_notice
from colipri_core.errors import ColipriError
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.prompts import Phrase
from colipri_core.prompts import Prompt
from colipri_core.session import Session
from napari_colipri.backend import ModelInfo
from napari_colipri.label_canvas import LabelCanvas
from napari_colipri.label_layers import Sheet
from napari_colipri.label_layers import make_sheet
from napari_colipri.tools import drawn_prompt
from napari_colipri.work import Job
from napari_colipri.work import Runner
from napari_colipri.writer import save_session

if TYPE_CHECKING:
    import napari.components
    from napari.layers import Image

    from napari_colipri.workflow import Workflow

_Ask = Callable[[Session, ProgressCallback, CancelToken | None], Change]


class Labelling:
    """Labels of the chosen CT: which tool, which object, and what they do.

    Args:
        viewer: The viewer.
        workflow: Knows the chosen CT and holds the model.
        runner: Runs what the session is asked.
    """

    changed = Signal()
    failed = Signal(object)
    noticed = Signal(str)

    def __init__(self, viewer: napari.components.ViewerModel, workflow: Workflow, runner: Runner) -> None:
        self.viewer = viewer
        self.tool: str | None = None
        self.positive = True
        self.policy: OverlapPolicy = "keep"
        self._workflow = workflow
        self._runner = runner
        self._sheets: dict[Image, Sheet] = {}
        self._followed: Sheet | None = None
        self._hands: dict[Image, LabelCanvas] = {}
        viewer.layers.events.removed.connect(self._on_layer_removed)
        workflow.case_changed.connect(self._on_case)

    @property
    def sheet(self) -> Sheet | None:
        """The labels of the chosen CT, None before they were opened."""
        layer = self._workflow.layer
        return self._sheets.get(layer) if layer is not None else None

    @property
    def state(self) -> EditingState | None:
        """Objects, prompts and history of the chosen CT."""
        return self.sheet.state if self.sheet is not None else None

    def begin(self, then: Callable[[], None] | None = None) -> bool:
        """Open the labels of the chosen CT, with the edits of earlier sessions, unless they are open.

        Args:
            then: Called once they are open.

        Returns:
            False if there is no CT.

        Raises:
            UnsupportedVolumeError: If the layer cannot be taken as a CT.
        """
        if self.sheet is not None:
            if then is not None:
                then()
            return True
        case = self._workflow.case_to_edit()
        if case is None:
            return False

        def work(progress: ProgressCallback, cancel: CancelToken) -> tuple[ModelInfo, np.ndarray, EditingState]:
            info, session, _ = self._workflow.backend.open(case.request, Reporter(progress, cancel), cancel)
            labelmap = case.source.grid.to_layer(session.segmentation.labelmap)
            return info, np.array(labelmap, dtype=np.uint16, order="C"), session.editing

        def done(result: tuple[ModelInfo, np.ndarray, EditingState]) -> None:
            info, labelmap, state = result
            self._workflow.set_model(info)
            if case.layer in self.viewer.layers and case.layer not in self._sheets:
                self._take_sheet(make_sheet(self.viewer, case, labelmap, state))
            if then is not None and self.sheet is not None:
                then()

        return self._runner.start(Job(title="Opening labels", work=work, on_done=done, waits=True))

    def choose_tool(self, tool: str | None) -> None:
        """Take a tool in hand, or put it down.

        Args:
            tool: One of the prompt tools, "brush", "eraser", or None.
        """
        self.tool = tool
        sheet = self.sheet
        if sheet is not None:
            self._hands[sheet.case.layer].take(tool)
            self.viewer.layers.selection.active = sheet.labels
        self.changed.emit()

    def tool_taken(self, tool: str | None) -> None:
        """The user took one of napari's own tools.

        Args:
            tool: "brush", "eraser", or None for another one.
        """
        self.tool = tool
        self.changed.emit()

    def press(self, action: str) -> None:
        """Do what a key or button stands for.

        Args:
            action: A tool, "sign", "next", "undo" or "redo".
        """
        if action == "sign":
            self.positive = not self.positive
            self.changed.emit()
        elif action == "next":
            self.add_object()
        elif action in ("undo", "redo"):
            self._step(action)
        else:
            self.begin(lambda: self.choose_tool(None if self.tool == action else action))

    def prompt(self, prompt: Prompt) -> None:
        """Ask the model for the current object.

        Args:
            prompt: What was pointed at.
        """

        def ask(session: Session, progress: ProgressCallback, cancel: CancelToken | None) -> Change:
            return session.prompt(prompt, label=label, policy=policy, progress=progress, cancel=cancel)

        sheet, policy = self.sheet, self.policy
        if sheet is not None:
            label = sheet.current
            self._ask(
                sheet, prompt.kind.capitalize(), ask, tell=lambda *done: answer_notice(prompt, *done, policy=policy)
            )

    def ask_phrase(self, text: str) -> None:
        """Seed the current object from words.

        Args:
            text: The words; empty text does nothing.
        """
        if text.strip():
            self.begin(lambda: self.prompt(Phrase(text=text)))

    def edit(self, edit: Edit, *, then: Callable[[], None] | None = None) -> None:
        """Edit objects.

        Args:
            edit: The edit.
            then: Called when it was made.
        """

        def ask(session: Session, progress: ProgressCallback, cancel: CancelToken | None) -> Change:
            return session.edit(edit)

        def ready() -> None:
            if self.sheet is not None:
                self._ask(self.sheet, "Editing", ask, quiet=True, then=then)

        self.begin(ready)

    def add_object(self) -> None:
        """Add an object and edit it from now on."""
        before = {item.label for item in self.state.objects} if self.state is not None else set()

        def choose() -> None:
            new = [item.label for item in self.sheet.state.objects if item.label not in before] if self.sheet else []
            if new:
                self.choose_object(new[-1])

        self.edit(AddObject(), then=choose)

    def choose_object(self, label: int) -> None:
        """Edit another object.

        Args:
            label: The object.
        """
        if self.sheet is not None:
            self.sheet.choose(label)
            self.changed.emit()

    def change_object(self, **changes: object) -> None:
        """Rename, code, recolour, lock or tick off the current object.

        Args:
            **changes: Fields of `ChangeObject`.
        """
        if self.sheet is not None and self._current_exists():
            self.edit(ChangeObject(label=self.sheet.current, **changes))  # type: ignore[arg-type]

    def reset_object(self) -> None:
        """Take all voxels and prompts from the current object."""
        if self.sheet is not None and self._current_exists():
            self.edit(ResetObject(label=self.sheet.current))

    def remove_object(self) -> None:
        """Remove the current object."""
        if self.sheet is not None and self._current_exists():
            self.edit(RemoveObject(label=self.sheet.current), then=self._choose_any)

    def adopt_structures(self) -> None:
        """Outline the structures the model knows and make them objects."""

        def ask(session: Session, progress: ProgressCallback, cancel: CancelToken | None) -> Change:
            return session.edit(Adopt.structures(session.segment(progress=progress, cancel=cancel)))

        def ready() -> None:
            if self.sheet is not None:
                self._ask(self.sheet, "Outlining structures", ask)

        self.begin(ready)

    def export(self, path: Path) -> None:
        """Save the labels in the source's own geometry, with the log of edits beside them.

        Args:
            path: File of a labelmap, or ending in .stl or .obj for a surface of the current object (without a log).
        """
        sheet = self.sheet
        if sheet is None:
            return
        case, label = sheet.case, sheet.current

        def work(progress: ProgressCallback, cancel: CancelToken) -> Path:
            _, session, _ = self._workflow.backend.open(case.request, Reporter(progress, cancel), cancel)
            return save_session(session, path, label=label, source=case.source.volume)

        self._runner.start(Job(title=f"Saving {path.name}", work=work, on_done=lambda _: None, waits=True))

    def close(self) -> None:
        """Let go of viewer, layers and keys; the layers stay."""
        self.viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self._workflow.case_changed.disconnect(self._on_case)
        for ct in list(self._sheets):
            self._forget(ct)

    def _take_sheet(self, sheet: Sheet) -> None:
        self._sheets[sheet.case.layer] = self._followed = sheet
        self._hands[sheet.case.layer] = LabelCanvas(self.viewer, sheet, self)
        self.choose_tool(self.tool)

    def _forget(self, ct: Image) -> None:
        self._hands.pop(ct).close()
        del self._sheets[ct]

    def _step(self, action: str) -> None:
        def ask(session: Session, progress: ProgressCallback, cancel: CancelToken | None) -> Change:
            waiting = session.editing.undo if action == "undo" else session.editing.redo
            if not waiting:
                return Change(label=0, action=action)
            return session.undo() if action == "undo" else session.redo()

        if self.sheet is not None:
            self._ask(self.sheet, action.capitalize(), ask, quiet=True)

    def _ask(
        self,
        sheet: Sheet,
        title: str,
        ask: _Ask,
        *,
        quiet: bool = False,
        then: Callable[[], None] | None = None,
        tell: Callable[[Change, EditingState], str] = lambda *_: "",
    ) -> None:
        """Ask the session on the worker, then draw what changed; what is quiet is an edit, which asks no model."""

        def work(progress: ProgressCallback, cancel: CancelToken) -> tuple[Change, EditingState]:
            request = sheet.case.request if quiet else sheet.case.question
            _, session, rest = self._workflow.backend.open(request, Reporter(progress, cancel), cancel)
            return ask(session, rest, cancel), session.editing

        def done(result: tuple[Change, EditingState]) -> None:
            self._show(sheet, *result)
            if words := tell(*result):
                self.noticed.emit(words)
            if then is not None:
                then()

        self._runner.start(
            Job(title=title, work=work, on_done=done, waits=True, quiet=quiet, on_stopped=sheet.draw_marks)
        )

    def keep_stroke(self, sheet: Sheet, stroke: Paint) -> None:
        """Make a stroke that is in the layer already an edit; one that is refused is taken off the layer again.

        Args:
            sheet: Where it was drawn.
            stroke: The stroke.
        """

        def work(progress: ProgressCallback, cancel: CancelToken) -> tuple[Change, EditingState, ColipriError | None]:
            _, session, _ = self._workflow.backend.open(sheet.case.request, Reporter(progress, cancel), cancel)
            try:
                return session.edit(stroke), session.editing, None
            except ColipriError as error:
                crop = stroke.voxels
                labels = session.segmentation.labelmap[crop.box]
                change = Change(label=stroke.label, action="refused", lower=crop.lower, upper=crop.upper, labels=labels)
                return change, session.editing, error

        def done(result: tuple[Change, EditingState, ColipriError | None]) -> None:
            change, state, error = result
            self._show(sheet, change, state)
            if error is not None:
                self.failed.emit(error)

        self._runner.start(Job(title="Stroke", work=work, on_done=done, waits=True, quiet=True))

    def _show(self, sheet: Sheet, change: Change, state: EditingState) -> None:
        if sheet.case.layer in self._sheets:
            sheet.show(change, state)
            self.changed.emit()

    def drawing(self, path: np.ndarray) -> None:
        """Show what is being drawn.

        Args:
            path: Layer indices (N, 3) so far.
        """
        if self.sheet is not None and self.tool != "point":
            self.sheet.draw_marks(path[[0, -1]] if self.tool == "box" else path, positive=self.positive)

    def drawn(self, path: np.ndarray) -> None:
        """Ask the model about what was drawn.

        Args:
            path: Layer indices (N, 3).
        """
        sheet = self.sheet
        if sheet is None or self.tool is None:
            return
        prompt = drawn_prompt(self.tool, path, sheet.case.source.grid, positive=self.positive)
        if prompt is not None:
            self.prompt(prompt)

    def _current_exists(self) -> bool:
        return self.sheet is not None and any(item.label == self.sheet.current for item in self.sheet.state.objects)

    def _choose_any(self) -> None:
        if self.sheet is not None and self.sheet.state.objects and not self._current_exists():
            self.sheet.choose(self.sheet.state.objects[0].label)

    def _on_case(self) -> None:
        if self.sheet is not self._followed:
            self._followed, self.tool = self.sheet, None
            for hand in self._hands.values():
                hand.take(None)
        self.changed.emit()

    def _on_layer_removed(self, event: object) -> None:
        removed = event.value  # type: ignore[attr-defined]
        for ct, sheet in list(self._sheets.items()):
            if removed in (ct, sheet.labels, sheet.marks):
                self._forget(ct)
                self.changed.emit()
