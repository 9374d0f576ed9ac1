"""What the Similar panel leads to: search a store for the scan, a region or a phrase, and read a match. No Qt."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from psygnal import Signal

from colipri_core.cases import Match
from colipri_core.errors import UnreadableInputError
from colipri_core.index import CaseStore
from colipri_core.index import open_store
from colipri_core.io import read_volume
from napari_colipri.backend import Backend
from napari_colipri.backend import ModelChoice
from napari_colipri.backend import ModelInfo
from napari_colipri.region import DrawnRegion
from napari_colipri.region import drawn_region
from napari_colipri.work import Job
from napari_colipri.work import Runner
from napari_colipri.workflow import Workflow

if TYPE_CHECKING:
    from napari.layers import Image

    from colipri_core.progress import CancelToken
    from colipri_core.progress import ProgressCallback
    from colipri_core.remote.stores import Archive
    from colipri_core.volume import Volume

_Answer = tuple[ModelInfo, tuple[Match, ...]]

NUM_MATCHES = 8
"""Matches that are listed (our choice)."""

PRESENT_FROM = 0.5
"""Probability from which a finding of the current scan counts as there when matches are compared with it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchRow:
    """A line of the Similar panel.

    Args:
        match: The stored case.
        shared: Its findings that the current scan has too.
        other: Its findings that the current scan does not have; all of them while that is unknown.
    """

    match: Match
    shared: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the case."""
        return self.match.case


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class OpenedMatch:
    """A match whose scan was read, to be shown beside the current case.

    Args:
        match: The stored case.
        volume: Its scan.
        layer: CT layer that was chosen, which is the one the search was made for; None without one.
        region: The region that was searched for, if one was.
    """

    match: Match
    volume: Volume
    layer: Image | None
    region: DrawnRegion | None


class SimilarCases:
    """Searches of one viewer.

    Args:
        workflow: Knows the viewer, the chosen CT and model, and the findings.
        runner: Runs long work.
        backend: Holds the model; used on the runner's worker only.
    """

    found = Signal()
    opened = Signal(object)

    def __init__(self, workflow: Workflow, runner: Runner, backend: Backend) -> None:
        self.rows: tuple[MatchRow, ...] = ()
        self.note = ""
        self.address = ""
        self._workflow = workflow
        self._runner = runner
        self._backend = backend
        self._store: CaseStore | None = None
        self._matches: tuple[Match, ...] = ()
        self._layer: Image | None = None  # that was searched for; None after a search for a phrase
        self._note = ""
        self._region: DrawnRegion | None = None
        workflow.findings_changed.connect(self._compare)

    def choose_store(self, address: str) -> None:
        """Search in another store from now on.

        Args:
            address: A folder, an object store's URL, or the name of a store of the model's server.
        """
        if address.strip() != self.address:
            self.address, self._store = address.strip(), None
            self._show((), None, None, "")

    def find(self, *, by_region: bool = False) -> bool:
        """Look for cases like the chosen CT, or like the region drawn on it.

        Args:
            by_region: Take the region.

        Returns:
            False if nothing was started: no store, no CT, or other work is running.

        Raises:
            UnsupportedVolumeError: If nothing is drawn, or the layer cannot be taken as a CT.
        """
        layer = self._workflow.layer
        if layer is None or not self.address:
            return False
        region = drawn_region(layer, self._workflow.viewer.layers.selection.active) if by_region else None
        case = self._workflow.case_to_edit()
        assert case is not None
        request = case.question

        def work(progress: ProgressCallback, cancel: CancelToken) -> _Answer:
            store = self._opened(request.choice)
            info, query = self._backend.embed(request, region, progress, cancel)
            matches = store.search(query, NUM_MATCHES + 1, by_region=region is not None)
            others = [match for match in matches if match.volume_sha256 != request.volume.sha256]
            return info, tuple(others[:NUM_MATCHES])

        def done(answer: _Answer) -> None:
            info, matches = answer
            self._workflow.set_model(info)
            self._show(matches, layer, region, "The store has no other case." if not matches else "")

        title = "Looking for the region elsewhere" if by_region else "Looking for similar cases"
        return self._runner.start(Job(title=title, work=work, on_done=done))

    def search(self, phrase: str) -> bool:
        """Look for cases that show what a phrase says.

        Args:
            phrase: A finding or any other phrase.

        Returns:
            False if nothing was started: no store, an empty phrase, or other work is running.
        """
        text = " ".join(phrase.split())
        if not text or not self.address:
            return False
        choice = self._workflow.choice

        def work(progress: ProgressCallback, cancel: CancelToken) -> _Answer:
            store = self._opened(choice)
            info, query = self._backend.embed_phrase(choice, text, progress, cancel)
            return info, tuple(store.search(query, NUM_MATCHES, by_region=True))

        def done(answer: _Answer) -> None:
            info, matches = answer
            self._workflow.set_model(info)
            self._show(matches, None, None, "The store has no cases yet." if not matches else "")

        return self._runner.start(Job(title=f'Searching for "{text}"', work=work, on_done=done))

    def open(self, row: MatchRow) -> bool:
        """Read the scan of a match; `opened` tells when it is there.

        Args:
            row: The match.

        Returns:
            False if nothing was started because other work is running.
        """
        layer, region = self._workflow.layer, self._region
        choice, address = self._workflow.choice, self.address

        def work(progress: ProgressCallback, cancel: CancelToken) -> Volume:
            progress(0.0, f"Reading {row.name}")
            if not row.match.path:
                msg = f'The scan of "{row.name}" is not on this machine, and its server does not say where it is.'
                raise UnreadableInputError(msg)
            if choice.is_remote:
                return self._backend.read_match(choice, address, row.match.path, progress, cancel)
            return read_volume(row.match.path)

        def done(volume: Volume) -> None:
            self.opened.emit(OpenedMatch(match=row.match, volume=volume, layer=layer, region=region))

        return self._runner.start(Job(title=f"Opening {row.name}", work=work, on_done=done))

    def close(self) -> None:
        """Let go of the workflow and the store."""
        self._workflow.findings_changed.disconnect(self._compare)
        self._store = None

    def _opened(self, choice: ModelChoice) -> Archive:
        """The store; opened on the worker, because it takes a moment, and here before the model is loaded."""
        if choice.is_remote:
            return self._backend.store(choice, self.address)
        if self._store is None or self._store.address != self.address:
            self._store = open_store(self.address)
        return self._store

    def _show(self, matches: tuple[Match, ...], layer: Image | None, region: DrawnRegion | None, note: str) -> None:
        self._matches, self._layer, self._region, self._note = matches, layer, region, note
        self._compare()

    def _compare(self) -> None:
        """Set the findings of the matches against those of the current scan; matches of another scan are not shown."""
        here = self._layer is None or self._layer == self._workflow.layer
        case = self._workflow.case
        known = frozenset(row.name for row in case.rows if row.probability >= PRESENT_FROM) if case else frozenset()
        self.note = self._note if here else ""
        self.rows = tuple(
            MatchRow(match=match, shared=match.shared_findings(known), other=match.other_findings(known))
            for match in (self._matches if here else ())
        )
        self.found.emit()
