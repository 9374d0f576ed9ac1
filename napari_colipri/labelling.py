"""What the label panel, the mouse and the keys lead to: prompts, strokes, undo, objects. No Qt; the panel listens."""

from __future__ import annotations

import functools
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
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.prompts import Phrase
from colipri_core.prompts import Prompt
from colipri_core.session import Session
from napari_colipri.label_canvas import LabelCanvas
from napari_colipri.label_jobs import Answer
from napari_colipri.label_jobs import LabelJobs
from napari_colipri.label_jobs import Opened
from napari_colipri.label_jobs import Question
from napari_colipri.label_jobs import editing
from napari_colipri.label_jobs import open_elsewhere
from napari_colipri.label_jobs import stepping
from napari_colipri.label_layers import Sheet
from napari_colipri.label_layers import make_sheet
from napari_colipri.tools import drawn_prompt
from napari_colipri.work import Runner

if TYPE_CHECKING:
    import napari.components
    from napari.layers import Image
    from napari.layers import Layer

    from napari_colipri.case import Case
    from napari_colipri.workflow import Workflow


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
        self._jobs = LabelJobs(workflow.backend, runner)
        self._sheets: dict[Image, Sheet] = {}
        self._followed: Image | None = workflow.layer
        self._hands: dict[Image, LabelCanvas] = {}
        self._opening: dict[Image, list[Callable[[Sheet], None]]] = {}
        viewer.layers.events.removed.connect(self._on_layer_removed)
        viewer.layers.selection.events.active.connect(self._on_active)
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

    def begin(self, then: Callable[[Sheet], None] | None = None) -> bool:
        """Open the labels of the chosen CT, with the edits of earlier sessions, unless they are open.

        Args:
            then: Called with them once they are open, whichever CT is chosen by then; never if they cannot be opened.

        Returns:
            False if there is no CT.

        Raises:
            UnsupportedVolumeError: If the layer cannot be taken as a CT.
        """
        layer, sheet = self._workflow.layer, self.sheet
        if sheet is not None:
            if then is not None:
                then(sheet)
            return True
        waiting = self._opening.get(layer)
        if waiting is None:
            case = self._workflow.case_to_edit()
            if case is None or not self._jobs.open(
                case, functools.partial(self._opened, case), functools.partial(self._not_opened, case)
            ):
                return False
            waiting = self._opening[layer] = []
        if then is not None:
            waiting.append(then)
        return True

    def choose_tool(self, tool: str | None) -> None:
        """Take a tool in hand, or put it down; while labels are being opened, it is taken as soon as they are.

        Args:
            tool: One of the prompt tools, "brush", "eraser", or None.
        """
        self.tool = tool
        sheet = self.sheet
        if sheet is not None:
            self._hands[sheet.case.layer].take(tool)
            self.viewer.layers.selection.active = sheet.labels
        self.changed.emit()

    def tool_taken(self, sheet: Sheet, tool: str | None) -> None:
        """The user took one of napari's own tools.

        Args:
            sheet: The labels it is for.
            tool: "brush", "eraser", or None for another one.
        """
        if sheet is self.sheet:
            self.tool = tool
            self.changed.emit()

    def press(self, action: str, sheet: Sheet | None = None) -> None:
        """Do what a key or button stands for.

        Args:
            action: A tool, "sign", "next", "undo" or "redo".
            sheet: The labels whose layer heard the key, None of a button: their CT is the chosen one from then on.
        """
        if sheet is not None:
            self._workflow.choose(sheet.case.layer)
        if action == "sign":
            self.positive = not self.positive
            self.changed.emit()
        elif action == "next":
            self.add_object()
        elif action in ("undo", "redo"):
            self._step(action)
        elif self.begin():
            self.choose_tool(None if self.tool == action else action)

    def prompt(self, prompt: Prompt, sheet: Sheet | None = None) -> None:
        """Ask the model for the current object.

        Args:
            prompt: What was pointed at.
            sheet: The labels it is for, None for those of the chosen CT.
        """
        sheet, policy = sheet or self.sheet, self.policy
        if sheet is None:
            return
        label = sheet.current

        def ask(session: Session, progress: ProgressCallback, cancel: CancelToken | None) -> Change:
            return session.prompt(prompt, label=label, policy=policy, progress=progress, cancel=cancel)

        self._ask(
            sheet,
            Question(title=prompt.kind.capitalize(), ask=ask, labels=(label,)),
            tell=lambda *done: answer_notice(prompt, *done, policy=policy),
        )

    def ask_phrase(self, text: str) -> None:
        """Seed the current object from words.

        Args:
            text: The words; empty text does nothing.
        """
        if text.strip():
            self.begin(lambda sheet: self.prompt(Phrase(text=text), sheet))

    def edit(self, edit: Edit) -> None:
        """Edit objects.

        Args:
            edit: The edit.
        """
        self.begin(lambda sheet: self._ask(sheet, editing(edit)))

    def add_object(self) -> None:
        """Add an object and edit it from now on, before it is made: what follows is meant for it."""

        def ready(sheet: Sheet) -> None:
            label = sheet.free_label()
            self._ask(sheet, editing(AddObject(label=label)))
            sheet.choose(label)
            self.changed.emit()

        self.begin(ready)

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
        self._edit_current(functools.partial(ChangeObject, **changes))

    def reset_object(self) -> None:
        """Take all voxels and prompts from the current object."""
        self._edit_current(ResetObject)

    def remove_object(self) -> None:
        """Remove the current object."""
        self._edit_current(RemoveObject)

    def adopt_structures(self) -> None:
        """Outline the structures the model knows and make them objects."""

        def ask(session: Session, progress: ProgressCallback, cancel: CancelToken | None) -> Change:
            return session.edit(Adopt.structures(session.segment(progress=progress, cancel=cancel)))

        def ready(sheet: Sheet) -> None:
            info = self._workflow.info
            made = sheet.labels_for(len(info.capabilities.structures) if info is not None else 0)
            self._ask(sheet, Question(title="Outlining structures", ask=ask, labels=made))

        self.begin(ready)

    def export(self, path: Path) -> None:
        """Save the labels in the source's own geometry, with the log of edits beside them.

        Args:
            path: File of a labelmap, or ending in .stl or .obj for a surface of the current object (without a log).
        """
        sheet = self.sheet
        if sheet is not None:
            self._jobs.save(sheet.case, path, label=sheet.current)

    def close(self) -> None:
        """Let go of viewer, layers and keys; the layers stay."""
        self.viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self.viewer.layers.selection.events.active.disconnect(self._on_active)
        self._workflow.case_changed.disconnect(self._on_case)
        for ct in list(self._sheets):
            self._forget(ct)

    def _opened(self, case: Case, opened: Opened) -> None:
        waiting = self._opening.pop(case.layer)
        self._workflow.set_model(opened.info)
        twin = next((sheet.case.layer for sheet in self._sheets.values() if sheet.key == opened.key), None)
        if case.layer not in self.viewer.layers or twin is not None:
            self._not_opened(case)
            if twin is not None:
                self.failed.emit(open_elsewhere(twin.name))
            return
        selection = self.viewer.layers.selection
        with selection.events.active.blocker(self._on_active):  # what napari makes active here, nobody chose
            active = selection.active
            sheet = make_sheet(self.viewer, case, opened.labelmap, opened.state, key=opened.key)
            selection.active = active
        self._sheets[case.layer] = sheet
        self._hands[case.layer] = LabelCanvas(self.viewer, sheet, self)
        if sheet is self.sheet:
            self.choose_tool(self.tool)
        for then in waiting:
            then(sheet)

    def _not_opened(self, case: Case) -> None:
        self._opening.pop(case.layer, None)
        if case.layer == self._workflow.layer:
            self.tool = None
        self.changed.emit()

    def _forget(self, ct: Image) -> None:
        self._hands.pop(ct).close()
        del self._sheets[ct]

    def _edit_current(self, make: Callable[..., Edit]) -> None:
        sheet = self.sheet
        if sheet is not None and any(item.label == sheet.current for item in sheet.state.objects):
            self._ask(sheet, editing(make(label=sheet.current)), then=sheet.choose_any)

    def _step(self, action: str) -> None:
        if self.sheet is not None:
            self._ask(self.sheet, stepping(action))

    def _ask(
        self,
        sheet: Sheet,
        question: Question,
        *,
        then: Callable[[], None] | None = None,
        tell: Callable[[Change, EditingState], str] = lambda *_: "",
    ) -> None:
        """Ask the session on the worker, then draw what changed."""
        sheet.expected.update(question.labels)

        def done(answer: Answer) -> None:
            sheet.expected.subtract(question.labels)
            if answer.refused is not None:
                self.failed.emit(answer.refused)
            if words := tell(answer.change, answer.state):
                self.noticed.emit(words)
            if sheet in self._sheets.values():
                sheet.show(answer.change, answer.state)
                if then is not None:
                    then()
                self.changed.emit()

        def stopped() -> None:
            sheet.expected.subtract(question.labels)
            if sheet in self._sheets.values():
                sheet.draw_marks()

        self._jobs.ask(sheet.case, question, done, stopped)

    def keep_stroke(self, sheet: Sheet, stroke: Paint) -> None:
        """Make a stroke that is in the layer already an edit; one that is refused is taken off the layer again.

        Args:
            sheet: Where it was drawn.
            stroke: The stroke.
        """
        self._ask(sheet, editing(stroke))

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

    def _on_case(self) -> None:
        layer = self._workflow.layer
        if layer != self._followed:
            self._followed, self.tool = layer, None
            for hand in self._hands.values():
                hand.take(None)
            if self._sheet_of(self.viewer.layers.selection.active) not in (None, self.sheet):
                self.viewer.layers.selection.active = self.sheet.labels if self.sheet is not None else layer
        self.changed.emit()

    def _on_active(self, event: object) -> None:
        """Follow the labels that keys and mouse work on from now on; their tool rests while another layer is active."""
        sheet = self._sheet_of(event.value)  # type: ignore[attr-defined]
        if sheet is not None and sheet.case.layer in self.viewer.layers:
            self._workflow.choose(sheet.case.layer)
        tool = self._hands[sheet.case.layer].tool if sheet is not None else None
        if tool != self.tool and self._workflow.layer not in self._opening:
            self.tool = tool
            self.changed.emit()

    def _sheet_of(self, layer: Layer | None) -> Sheet | None:
        return next((sheet for sheet in self._sheets.values() if sheet.labels == layer), None)

    def _on_layer_removed(self, event: object) -> None:
        removed = event.value  # type: ignore[attr-defined]
        for ct, sheet in list(self._sheets.items()):
            if removed in (ct, sheet.labels):
                self._forget(ct)
                self.changed.emit()
