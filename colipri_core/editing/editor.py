"""The editor of one volume's labels: applies edits and proposals, remembers them all, saves each before it counts."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

from colipri_core.editing.canvas import Canvas
from colipri_core.editing.change import Change
from colipri_core.editing.change import EditingState
from colipri_core.editing.delta import Labels
from colipri_core.editing.edits import Edit
from colipri_core.editing.edits import OverlapPolicy
from colipri_core.editing.edits import Paint
from colipri_core.editing.edits import check_edit
from colipri_core.editing.journal import Event
from colipri_core.editing.journal import Journal
from colipri_core.editing.journal import open_journal
from colipri_core.editing.question import Question
from colipri_core.editing.question import answered
from colipri_core.editing.question import kept_by_others
from colipri_core.editing.question import question
from colipri_core.editing.step import Step
from colipri_core.editing.steps import step_of
from colipri_core.errors import AutosaveError
from colipri_core.errors import EmptyHistoryError
from colipri_core.prompts.crop import Crop
from colipri_core.prompts.crop import Index
from colipri_core.prompts.types import Prompt
from colipri_core.provenance import ModelCard
from colipri_core.segmentation import Origin
from colipri_core.segmentation import Segment
from colipri_core.volume import Volume


class LabelEditor:
    """The labels of one volume, with undo as deep as memory. Any thread may call it.

    Args:
        volume: The volume whose grid the labels lie on.
        autosave: Folder for the journal of edits, which is taken up if there is one; None saves nothing.

    Raises:
        AutosaveError: If the journal cannot be used.
    """

    def __init__(self, volume: Volume, *, autosave: Path | None = None) -> None:
        self.volume = volume
        self._canvas = Canvas(volume.shape)
        self._done: list[Step] = []
        self._undone: list[Step] = []
        self._lock = threading.RLock()
        self._journal: Journal | None = None
        self._recovered = 0
        self._damaged = ""
        if autosave is not None:
            self._journal = open_journal(Path(autosave), volume)
            self._take_up(self._journal)

    @property
    def state(self) -> EditingState:
        """Objects, prompts and history as they stand."""
        with self._lock:
            canvas = self._canvas
            return EditingState(
                objects=tuple(canvas.objects[label] for label in sorted(canvas.objects)),
                voxels={label: canvas.voxels(label) for label in sorted(canvas.objects)},
                voxel_volume_ml=self.volume.geometry.voxel_volume_ml,
                prompts={label: tuple(prompts) for label, prompts in canvas.prompts.items() if prompts},
                undo=tuple(step.action for step in reversed(self._done)),
                redo=tuple(step.action for step in reversed(self._undone)),
                recovered=self._recovered,
                damaged=self._damaged,
            )

    @property
    def labelmap(self) -> Labels:
        """A copy of the labels `[i, j, k]`, uint8 or uint16."""
        with self._lock:
            return self._canvas.labelmap.copy()

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The objects as segments, by label."""
        return tuple(item.segment for item in self.state.objects)

    @property
    def origins(self) -> dict[int, Origin]:
        """Label -> who drew it, of each object with voxels."""
        with self._lock:
            return dict(self._canvas.origins)

    @property
    def model(self) -> ModelCard | None:
        """The last model that drew in an object that has voxels; None if all of them were drawn by hand."""
        with self._lock:
            there = [origin.model for origin in self._canvas.origins.values()]
            return next((step.model for step in reversed(self._done) if step.model and step.model in there), None)

    @property
    def steps(self) -> tuple[Step, ...]:
        """What led to the present state, oldest first."""
        with self._lock:
            return tuple(self._done)

    @property
    def history(self) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        """What can be undone, oldest first, and what can be redone, the next step last."""
        with self._lock:
            return tuple(self._done), tuple(self._undone)

    def apply(self, edit: Edit) -> Change:
        """Make an edit.

        Returns:
            What changed; of a stroke the whole box that was painted.

        Raises:
            ObjectLockedError: If the object is locked.
            AutosaveError: If it could not be saved; nothing was changed then.
            TypeError: If it is no edit.
            ValueError: If the object does not exist, or the voxels do not lie on the grid.
        """
        check_edit(edit)
        with self._lock:
            change = self._record(step_of(edit, self._canvas, self.volume.geometry))
            if isinstance(edit, Paint):  # whoever painted may have drawn where it was not allowed
                upper, labels = edit.voxels.upper, self._canvas.labelmap[edit.voxels.box].copy()
                return dataclasses.replace(change, lower=edit.voxels.lower, upper=upper, labels=labels)
            return change

    def take(self, step: Step) -> Change:
        """Make a step that an editor of the same labels made elsewhere.

        Args:
            step: The step, which follows from the present state.

        Raises:
            AutosaveError: If it could not be saved; nothing was changed then.
        """
        with self._lock:
            return self._record(step)

    def labels_in(self, lower: Index, upper: Index) -> Labels:
        """A copy of the labels of a box.

        Args:
            lower: Voxel index of its first corner.
            upper: Index just beyond its last corner.
        """
        i, j, k = (slice(a, b) for a, b in zip(lower, upper, strict=True))
        with self._lock:
            return self._canvas.labelmap[i, j, k].copy()

    def ask(self, prompt: Prompt, *, label: int, policy: OverlapPolicy = "keep") -> Question:
        """Prepare a prompt for a model; nothing is changed before the answer comes.

        Args:
            prompt: The prompt.
            label: The object, which need not exist yet.
            policy: What happens to voxels of other objects.

        Raises:
            ObjectLockedError: If the object is locked.
            ValueError: If the policy is unknown.
        """
        with self._lock:
            return question(self._canvas, prompt, label=label, policy=policy)

    def answer(self, asked: Question, proposal: Crop, *, model: ModelCard) -> Change:
        """Make a model's answer an edit; edits made while the model was at work stay.

        Args:
            asked: What was asked.
            proposal: The whole mask the model proposes for the object.
            model: The model.

        Raises:
            ObjectLockedError: If the object was locked meanwhile.
            AutosaveError: If it could not be saved; nothing was changed then.
            ValueError: If the proposal does not lie on the grid.
        """
        with self._lock:
            step = answered(self._canvas, asked, proposal, model=model)
            kept = kept_by_others(self._canvas, asked, proposal)
            return dataclasses.replace(self._record(step), voxels_kept=kept)

    def undo(self) -> Change:
        """Take the last edit back.

        Raises:
            EmptyHistoryError: If there is none.
            AutosaveError: If it could not be saved; nothing was changed then.
        """
        with self._lock:
            if not self._done:
                msg = "There is no edit to undo."
                raise EmptyHistoryError(msg)
            self._save(Event(kind="undo"))
            return self._undo()

    def redo(self) -> Change:
        """Make the edit that was undone last once more.

        Raises:
            EmptyHistoryError: If there is none.
            AutosaveError: If it could not be saved; nothing was changed then.
        """
        with self._lock:
            if not self._undone:
                msg = "There is no edit to redo."
                raise EmptyHistoryError(msg)
            self._save(Event(kind="redo"))
            return self._redo()

    def replay(self, event: Event) -> None:
        """Do what a journal says was done; nothing is saved.

        Args:
            event: The next event of the journal.
        """
        with self._lock:
            if event.kind == "undo":
                self._undo()
            elif event.kind == "redo":
                self._redo()
            else:
                assert event.step is not None
                self._do(event.step)

    def close(self) -> None:
        """Let go of the journal. Closing twice does nothing."""
        with self._lock:
            if self._journal is not None:
                self._journal.close()
                self._journal = None

    def _record(self, step: Step) -> Change:
        if step.delta or step.objects or step.prompt or step.dropped:
            self._save(Event(kind="do", step=step))
            self._do(step)
        return self._change(step)

    def _save(self, event: Event) -> None:
        if self._journal is not None:
            self._journal.append(event)

    def _do(self, step: Step) -> None:
        self._canvas.do(step)
        self._done.append(step)
        self._undone.clear()

    def _undo(self) -> Change:
        step = self._done.pop()
        self._canvas.undo(step)
        self._undone.append(step)
        return self._change(step)

    def _redo(self) -> Change:
        step = self._undone.pop()
        self._canvas.do(step)
        self._done.append(step)
        return self._change(step)

    def _change(self, step: Step) -> Change:
        change = Change(label=step.label, action=step.action, objects_changed=bool(step.objects))
        if step.delta is None:
            return change
        return dataclasses.replace(
            change,
            lower=step.delta.lower,
            upper=step.delta.upper,
            voxels_changed=step.delta.voxels_changed,
            labels=self._canvas.labelmap[step.delta.box].copy(),
        )

    def _take_up(self, journal: Journal) -> None:
        try:
            for event in journal.events:
                self.replay(event)
        except (IndexError, KeyError, RuntimeError, ValueError) as error:
            journal.close()
            msg = f'The edits in "{journal.path.name}" do not follow from one another ({error}). Move the file away.'
            raise AutosaveError(msg) from error
        self._recovered = len(self._done)
        self._damaged = journal.damaged
        journal.events = ()
