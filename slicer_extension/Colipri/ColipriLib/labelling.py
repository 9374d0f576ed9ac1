"""What the panel Label, markups and the Segment Editor effect lead to: prompts, undo, objects, export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import slicer

from colipri_core.editing.change import Change
from colipri_core.editing.change import EditingState
from colipri_core.editing.edits import AddObject
from colipri_core.editing.edits import Adopt
from colipri_core.editing.edits import ChangeObject
from colipri_core.editing.edits import Edit
from colipri_core.editing.edits import RemoveObject
from colipri_core.editing.edits import ResetObject
from colipri_core.editing.notice import answer_notice
from colipri_core.errors import Cancelled
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.prompts import Prompt
from colipri_core.session import Session
from colipri_core.vocabulary.structures import STRUCTURES
from ColipriLib.case import Case
from ColipriLib.desk import Desk
from ColipriLib.handwork import Answer
from ColipriLib.handwork import Seen
from ColipriLib.handwork import look
from ColipriLib.handwork import perform
from ColipriLib.handwork import show
from ColipriLib.scene import markups
from ColipriLib.scene import segments

POINT_ROLES = {"points": True, "antipoints": False}
"""Role of a fiducial node -> whether its points show what belongs to the object."""

Act = Callable[[Session, ProgressCallback, CancelToken], Change | None]
"""Acts on a session; returns what changed, None if nothing did."""


class Labelling:
    """Labels of the chosen CT: which object, and what is done to it.

    Args:
        desk: Scene, connection and worker.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._showing = False

    @property
    def node(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmentation node of the chosen CT that is edited."""
        return self._desk.params.node_of("labels")

    @property
    def state(self) -> EditingState | None:
        """Objects, prompts and history of the chosen CT; None before its labels were opened."""
        return self._desk.case.state if self._desk.case is not None else None

    def begin(self) -> bool:
        """Open the labels: those of an earlier session, of the scene, or none yet."""
        return self.act("Opening labels", lambda session, progress, cancel: None)

    def prompt(self, prompt: Prompt) -> bool:
        """Ask the model for the current object.

        Args:
            prompt: What was pointed at, in world RAS+ mm.
        """
        label, policy = self._desk.params.object, self._desk.params.text("policy")

        def act(session: Session, progress: ProgressCallback, cancel: CancelToken) -> Change:
            return session.prompt(prompt, label=label, policy=policy, progress=progress, cancel=cancel)  # type: ignore[arg-type]

        return self.act(prompt.kind.capitalize(), act, prompt=prompt, label=label)

    def ask_phrase(self, text: str) -> bool:
        """Seed the current object from words; empty text does nothing.

        Args:
            text: The words.
        """
        return bool(text.strip()) and self.prompt(Phrase(text=text))

    def markup(self, tool: str, *, positive: bool) -> slicer.vtkMRMLMarkupsNode:
        """The markups node to draw a prompt with: fiducials stay, what is drawn otherwise begins anew.

        Args:
            tool: "point", "scribble", "lasso" or "box".
            positive: Whether it shows what belongs to the object.

        Raises:
            UnsupportedVolumeError: If no CT is chosen.
        """
        self._desk.take()
        role = ("points" if positive else "antipoints") if tool == "point" else "drawing"
        node = self._desk.params.node_of(role)
        if node is not None and role == "drawing":
            self._desk.scene.RemoveNode(node)
            node = None
        if node is None:
            node = markups.add_markup(self._desk.scene, tool, positive=positive)
            self._desk.params.set_node(role, node)
        return node

    def prompt_from(self, node: slicer.vtkMRMLMarkupsNode, *, positive: bool) -> bool:
        """Ask the model about a markup: the point placed last, or the curve or ROI that was drawn.

        Args:
            node: The markups node.
            positive: Whether it shows what belongs to the object.

        Returns:
            False if too little of it was placed, or see `Desk.run`.
        """
        found = markups.prompts_of(node, self._desk.take().volume.geometry, positive=positive)
        if not found:
            return False
        if self._desk.params.node_of("drawing") is node:
            self._desk.scene.RemoveNode(node)
            self._desk.params.set_node("drawing", None)
        return self.prompt(found[-1])

    def prompt_placed(self, node: slicer.vtkMRMLMarkupsNode) -> bool:
        """Ask the model about a point that the user has just placed.

        Args:
            node: The fiducials.

        Returns:
            False if it is no point of the user on the chosen CT, or see `Desk.run`.
        """
        role = next((role for role in POINT_ROLES if self._desk.params.node_of(role) is node), None)
        if self._showing or role is None:
            return False
        return self.prompt_from(node, positive=POINT_ROLES[role])

    def prompt_at(
        self,
        place: tuple[float, float, float],
        *,
        volume: slicer.vtkMRMLScalarVolumeNode,
        segmentation: slicer.vtkMRMLSegmentationNode,
        segment: str,
        positive: bool,
    ) -> bool:
        """Ask the model about a click in the Segment Editor: for its volume, its segmentation and its segment.

        Args:
            place: Where, world RAS+ mm.
            volume: The editor's source volume.
            segmentation: The editor's segmentation; it becomes the module's labels.
            segment: Id of the selected segment.
            positive: Whether the place belongs to it.
        """
        self._desk.choose(volume)
        if self.node is not segmentation:
            self._desk.params.set_node("labels", segmentation)
            if self._desk.case is not None:
                self._desk.case.stamp = None
        label = segments.label_of(segmentation, segment, taken=self._labels())
        self._desk.params.set_object(label)
        r, a, s = (float(value) for value in place)
        return self.prompt(Point(ras=(r, a, s), positive=positive))

    def undo(self) -> bool:
        """Take the last edit back; without one nothing happens."""

        def act(session: Session, progress: ProgressCallback, cancel: CancelToken) -> Change | None:
            return session.undo() if session.editing.undo else None

        return self.act("Undo", act)

    def redo(self) -> bool:
        """Make the edit that was undone last once more; without one nothing happens."""

        def act(session: Session, progress: ProgressCallback, cancel: CancelToken) -> Change | None:
            return session.redo() if session.editing.redo else None

        return self.act("Redo", act)

    def edit(self, edit: Edit) -> bool:
        """Edit objects.

        Args:
            edit: The edit.
        """
        return self.act("Editing", lambda session, progress, cancel: session.edit(edit))

    def add_object(self) -> bool:
        """Add an object and edit it from now on: what is asked before it is there is about it already."""
        label = added = segments.free_label(self._labels())

        def act(session: Session, progress: ProgressCallback, cancel: CancelToken) -> Change:
            nonlocal added
            taken = {item.label for item in session.editing.objects}
            change = session.edit(AddObject(label=None if label in taken else label))
            added = change.label
            return change

        def choose(case: Case) -> None:
            if added != label:  # objects of an earlier session were not known yet
                self._desk.params.set_object(added, case.node)
                self._show_prompts(case.node)

        started = self.act("Adding an object", act, then=choose, label=label)
        if started:
            self.choose_object(label)
        return started

    def choose_object(self, label: int) -> None:
        """Edit another object.

        Args:
            label: The object.
        """
        self._desk.params.set_object(label)
        self._show_prompts(self._desk.volume_node)
        self._desk.changed()

    def rename_object(self, name: str) -> bool:
        """Rename the current object; the name of a known structure brings its code and colour along.

        Args:
            name: The name; empty text does nothing.
        """
        known = next((concept for concept in STRUCTURES if concept.name.casefold() == name.strip().casefold()), None)
        if known is not None:
            return self.change_object(name=known.name, code=known.code, color=known.color)
        return bool(name.strip()) and self.change_object(name=name.strip())

    def change_object(self, **changes: object) -> bool:
        """Rename, code, recolour, lock or tick off the current object.

        Args:
            **changes: Fields of `ChangeObject`.
        """
        label = self._desk.params.object
        return self._exists(label) and self.edit(ChangeObject(label=label, **changes))  # type: ignore[arg-type]

    def reset_object(self) -> bool:
        """Take all voxels and prompts from the current object."""
        label = self._desk.params.object
        return self._exists(label) and self.edit(ResetObject(label=label))

    def remove_object(self) -> bool:
        """Remove the current object."""
        label = self._desk.params.object
        return self._exists(label) and self.edit(RemoveObject(label=label))

    def adopt_structures(self) -> bool:
        """Outline the structures the model knows and make them objects."""

        def act(session: Session, progress: ProgressCallback, cancel: CancelToken) -> Change:
            return session.edit(Adopt.structures(session.segment(progress=progress, cancel=cancel)))

        return self.act("Outlining structures", act)

    def export(self, path: Path) -> bool:
        """Save the labels in the volume's own place, with the log of edits beside them.

        Args:
            path: A file; its suffix decides the format.
        """

        def act(session: Session, progress: ProgressCallback, cancel: CancelToken) -> None:
            from colipri_core.io import write_labelmap
            from colipri_core.io.atomic import write_json
            from colipri_core.io.suffixes import without_suffix

            write_json(path.with_name(f"{without_suffix(path.name)}_edits.json"), session.edit_log())
            write_labelmap(session.segmentation, path, source=session.volume)

        return self.act(f"Saving {path.name}", act)

    def act(
        self,
        title: str,
        act: Act,
        *,
        then: Callable[[Case], None] = lambda case: None,
        prompt: Prompt | None = None,
        label: int | None = None,
    ) -> bool:
        """Ask the session when its turn has come, with what the user changed by hand first; then show what changed.

        Args:
            title: What is being done.
            act: Asks; on the worker.
            then: Called on the main thread once the answer is shown.
            prompt: What the session is asked about, if it is a prompt.
            label: The object, if it need not be there yet.

        Returns:
            False if nothing was started; see `Desk.run`.
        """
        policy, volume, seen = self._desk.params.text("policy"), self._desk.volume_node, Seen()

        def ready(case: Case) -> None:
            nonlocal seen
            seen = look(self._desk, case)

        def ask(session: Session, progress: ProgressCallback, cancel: CancelToken) -> Answer:
            return perform(session, seen, lambda: act(session, progress, cancel))

        def take(case: Case, answer: Answer) -> None:
            case.pending.pop(ask, None)
            show(self._desk, case, seen, answer)
            self._show_prompts(case.node)
            if answer.error is None:
                if prompt is not None and answer.change is not None:
                    self._desk.problem = answer_notice(prompt, answer.change, answer.state, policy=policy)  # type: ignore[arg-type]
                then(case)
            elif not isinstance(answer.error, Cancelled):
                self._desk.fail(answer.error)
            self._desk.problem = " ".join(words for words in (answer.refused, self._desk.problem) if words)

        def stopped() -> None:
            case = self._desk.case_of(volume)
            if case is not None:
                case.pending.pop(ask, None)
            self._show_prompts(volume)

        started = self._desk.run(title, ask, take, ready=ready, waits=True, on_stopped=stopped)
        if started and label is not None and self._desk.case is not None:
            self._desk.case.pending[ask] = label
        return started

    def _labels(self) -> frozenset[int]:
        """Labels of the chosen CT that are no longer free."""
        case, node = self._desk.case, self.node
        shown = segments.segment_ids(node) if node is not None else ()
        return frozenset((*shown, *(case.labels if case is not None else ())))

    def _show_prompts(self, volume: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Show the point prompts of the current object as the session of a CT has them."""
        case = self._desk.case_of(volume)
        state = case.state if case is not None else None
        mine = state.prompts.get(self._desk.params.object_of(volume), ()) if state is not None else ()
        self._showing = True  # points that are shown say that they were placed, as those of the user do
        try:
            for role, positive in POINT_ROLES.items():
                node = self._desk.params.node_of(role, volume)
                if node is not None:
                    markups.show_points(node, mine, positive=positive)
        finally:
            self._showing = False

    def _exists(self, label: int) -> bool:
        return self.state is not None and any(item.label == label for item in self.state.objects)
