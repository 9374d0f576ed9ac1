"""The labels of a session: the editor that holds them, and the interactive model that answers prompts for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from colipri_core.editing.change import Change
from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.question import Question
from colipri_core.errors import SessionClosedError
from colipri_core.inference.worker import ModelWorker
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.prompts import Crop
from colipri_core.prompts import Phrase
from colipri_core.prompts import Position
from colipri_core.prompts import Prompt
from colipri_core.prompts import Segmenter
from colipri_core.prompts import prompt_mask
from colipri_core.prompts.attention import Attention
from colipri_core.prompts.attention import Outlined
from colipri_core.provenance import Provenance
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

LoadSegmenter = Callable[[str], Segmenter]
"""Loads the model that answers prompts onto a device, such as "cpu" or "cuda:0"."""

_ATTENTION_SHARE = 0.7
_MOST_PHRASES = 8
"""Phrases whose places are kept at hand, so that clicks on several objects in turn look for none again."""


class Attend(Protocol):
    """Looks for a phrase."""

    def __call__(
        self, text: str, *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> Attention | Outlined:
        """Return where the phrase is seen, or what of it is outlined."""
        ...


class SegmenterSlot:
    """The interactive model of an engine, loaded when it is first asked. To be used on the model's thread alone.

    Args:
        load: Loads the model.
        device: Where it runs.
    """

    def __init__(self, load: LoadSegmenter, device: str) -> None:
        self._load = load
        self._device = device
        self._segmenter: Segmenter | None = None

    def get(self) -> Segmenter:
        """The model."""
        if self._segmenter is None:
            self._segmenter = self._load(self._device)
        return self._segmenter


class Labelling:
    """What a session delegates its labels to.

    Args:
        volume: The volume.
        worker: The thread that owns the models.
        segmenter: The engine's interactive model.
        autosave: Folder for the journal of edits; None saves nothing.
    """

    def __init__(
        self, volume: Volume, worker: ModelWorker, segmenter: SegmenterSlot, *, autosave: Path | None = None
    ) -> None:
        self._volume = volume
        self._worker = worker
        self._segmenter = segmenter
        self._autosave = autosave
        self._editor: LabelEditor | None = None
        self._seen: dict[str, Attention | Outlined] = {}
        self._lock = threading.Lock()
        self._closed = False

    @property
    def editor(self) -> LabelEditor:
        """The editor, made when it is first wanted.

        Raises:
            SessionClosedError: If the session was closed.
            AutosaveError: If the journal cannot be used.
        """
        with self._lock:
            if self._closed:
                msg = "The session was closed. Open the volume again with engine.open()."
                raise SessionClosedError(msg)
            if self._editor is None:
                self._editor = LabelEditor(self._volume, autosave=self._autosave)
            return self._editor

    def answer(
        self, asked: Question, *, attend: Attend, progress: ProgressCallback | None, cancel: CancelToken | None
    ) -> Change:
        """Let a model answer and make its answer an edit; nothing is changed if it is cancelled or fails.

        What a phrase outlines by itself is added to the object; everything else is asked of the interactive model.

        Args:
            asked: What is asked.
            attend: Finds where a phrase is seen.
            progress: Receives (fraction, message).
            cancel: Cancels the call.

        Raises:
            Cancelled: If `cancel` was set.
            CapabilityError: If there is no interactive model.
            ValueError: If a position lies outside the volume.
        """
        _check_place(asked.prompt, self._volume)
        phrase = _phrase_asked(asked)
        reporter = Reporter(progress, cancel)
        share = 0.0
        seen: Attention | Outlined | None = None
        if phrase is not None:
            self._worker.run(lambda _: self._segmenter.get(), cancel=cancel)  # or all the looking may be in vain
            share = _ATTENTION_SHARE
            seen = self._look(phrase, attend, reporter.part(0.0, share), cancel)

        if asked.prompt is phrase and isinstance(seen, Outlined):
            reporter(1.0, "Done")
            whole = Crop.union((asked.previous, seen.outline))
            return self.editor.answer(asked, whole, model=seen.model)
        attention = seen if isinstance(seen, Attention) else None

        def job(report: Reporter) -> tuple[Segmenter, Crop]:
            segmenter = self._segmenter.get()
            proposal = self._propose(segmenter, asked, attention, report, cancel)
            report(1.0, "Done")
            return segmenter, proposal

        segmenter, proposal = self._worker.run(job, progress=reporter.part(share, 1.0), cancel=cancel)
        return self.editor.answer(asked, proposal, model=segmenter.card)

    def segmentation(self, *, versions: dict[str, str], device: str) -> Segmentation:
        """A copy of the labels, with the model that had a hand in them.

        Args:
            versions: Package name -> version.
            device: Device the models run on.
        """
        editor = self.editor
        provenance = None
        if editor.model is not None:
            provenance = Provenance(model=editor.model, preprocessing={}, versions=versions, device=device, timings={})
        return Segmentation(
            labelmap=editor.labelmap,
            geometry=self._volume.geometry,
            segments=editor.segments,
            provenance=provenance,
            origins=editor.origins,
        )

    def close(self) -> None:
        """Let go of labels and journal. Closing twice does nothing."""
        with self._lock:
            self._closed = True
            editor, self._editor = self._editor, None
            self._seen.clear()
        if editor is not None:
            editor.close()

    def _look(
        self, phrase: Phrase, attend: Attend, report: Reporter, cancel: CancelToken | None
    ) -> Attention | Outlined:
        """What is seen of a phrase; it is kept for the clicks that follow."""
        if phrase.text not in self._seen:
            seen = attend(phrase.text, progress=report, cancel=cancel)
            while len(self._seen) >= _MOST_PHRASES:
                del self._seen[next(iter(self._seen))]
            self._seen[phrase.text] = seen
        return self._seen[phrase.text]

    def _propose(
        self,
        segmenter: Segmenter,
        asked: Question,
        attention: Attention | None,
        report: Reporter,
        cancel: CancelToken | None,
    ) -> Crop:
        """Ask the model; where only a phrase says where, at each of its places, and take what holds most of it."""
        previous = None if asked.previous.is_empty else asked.previous
        placed = any(prompt.positive for prompt in asked.prompts if not isinstance(prompt, Phrase))
        places: tuple[Position | None, ...] = (None,)
        if attention is not None:
            places = attention.places if previous is None and not placed else attention.places[:1]
        proposals = [
            segmenter.propose(
                self._volume,
                asked.prompts,
                previous=previous,
                seen_at=place,
                progress=report.part(number / len(places), (number + 1) / len(places)),
                cancel=cancel,
            )
            for number, place in enumerate(places)
        ]
        if attention is None or len(proposals) == 1:
            return proposals[0]
        held = [attention.held(proposal, self._volume.geometry) for proposal in proposals]
        best = held.index(max(held))
        self._seen[attention.text] = attention.beginning_with(best)
        return proposals[best]


def _phrase_asked(asked: Question) -> Phrase | None:
    """The phrase that says where to look: the new prompt itself, or the last one as long as nothing else says where."""
    if isinstance(asked.prompt, Phrase):
        return asked.prompt
    if any(prompt.positive for prompt in asked.prompts if not isinstance(prompt, Phrase)):
        return None
    return next((prompt for prompt in reversed(asked.prompts) if isinstance(prompt, Phrase)), None)


def _check_place(prompt: Prompt, volume: Volume) -> None:
    if not isinstance(prompt, Phrase):
        prompt_mask(prompt, volume.geometry)
