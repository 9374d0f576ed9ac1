"""What the panel Similar leads to: search a case store for the scan, an object or a phrase, and open a match."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import slicer

from colipri_core.cases import Match
from colipri_core.cases import RegionMask
from colipri_core.errors import StoreError
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.prompts.crop import Crop
from colipri_core.session import Session
from colipri_core.volume import Volume
from ColipriLib.case import Case
from ColipriLib.desk import Desk
from ColipriLib.job import Job
from ColipriLib.labelling import Labelling
from ColipriLib.rows import MatchRow
from ColipriLib.scene import places
from ColipriLib.scene import volumes

Loader = Callable[[Path], slicer.vtkMRMLScalarVolumeNode | None]
"""Loads a scan into the scene; returns None if it could not."""

NUM_MATCHES = 8
"""Matches that are listed (our choice)."""

PRESENT_FROM = 0.5
"""Probability from which a finding of the current scan counts as there when matches are compared with it."""

NO_STORE = (
    "Expected the name of a case store, found none. Choose one that the server offers; a local server offers the one "
    "named under Local server."
)

OPENED = 'The slice views show the scan of "{}". The chosen CT is still the other one.'

UNKNOWN_PLACE = (
    'The server does not say where the scan of "{}" lies: it tells of scans below its --root only. '
    "Ask whoever runs it, or load the scan by hand."
)


class SimilarCases:
    """Searches for the chosen CT.

    Args:
        desk: Scene, connection and worker.
        labelling: Has the objects whose places are looked for.
        load: Loads the scan of a match from its file.
    """

    def __init__(self, desk: Desk, labelling: Labelling, load: Loader) -> None:
        self.note = ""
        self._desk = desk
        self._labelling = labelling
        self._load = load
        self._store = ""
        self._found: tuple[Match, ...] = ()
        self._searched: Case | None = None

    @property
    def rows(self) -> tuple[MatchRow, ...]:
        """The matches found last, set against the findings of the chosen CT; none that were found for another CT."""
        case = self._desk.case
        if self._searched is not None and self._searched is not case:
            return ()
        here = frozenset(row.name for row in case.findings if row.probability >= PRESENT_FROM) if case else frozenset()
        return tuple(
            MatchRow(match=match, shared=match.shared_findings(here), other=match.other_findings(here))
            for match in self._found
        )

    def find(self, *, by_object: bool = False) -> bool:
        """Look for cases like the chosen CT, or with a place like the current object.

        Args:
            by_object: Take the current object's voxels as the place, with what was painted by hand; waits for its turn.

        Returns:
            False if nothing was started.
        """
        store, label = self._desk.params.text("store"), self._desk.params.object
        if not store:
            self._desk.fail(StoreError(NO_STORE))
            return False

        found: tuple[Match, ...] = ()

        def ask(session: Session, progress: ProgressCallback, cancel: CancelToken) -> None:
            nonlocal found
            region = _object_region(session, label) if by_object else None
            matches = session.similar(
                self._desk.client.store(store), NUM_MATCHES + 1, region=region, progress=progress, cancel=cancel
            )
            others = [match for match in matches if match.volume_sha256 != session.volume.sha256]
            found = tuple(others[:NUM_MATCHES])

        def take(case: Case, _: None = None) -> None:
            self._show(store, found, "" if found else "The store has no other case.", case)

        if by_object:
            return self._labelling.act("Looking for the object elsewhere", ask, then=take)
        return self._desk.run("Looking for similar cases", ask, take)

    def search(self, phrase: str) -> bool:
        """Look for cases that show what a phrase says; needs no CT.

        Args:
            phrase: A finding or any other phrase; empty text does nothing.

        Returns:
            False if nothing was started.
        """
        text, store = " ".join(phrase.split()), self._desk.params.text("store")
        if not text:
            return False
        if not store:
            self._desk.fail(StoreError(NO_STORE))
            return False
        if not self._desk.prepare_client():
            return False

        def work(progress: ProgressCallback, cancel: CancelToken) -> tuple[Match, ...]:
            engine = self._desk.client.connect(progress, cancel)
            query = engine.embed_text(text, contrast=True)
            return tuple(self._desk.client.store(store).search(query, NUM_MATCHES, by_region=True))

        def done(found: tuple[Match, ...]) -> None:
            self._desk.client.note(None)
            self._show(store, found, "" if found else "The store has no cases yet.")

        return self._desk.start(Job(title=f'Searching for "{text}"', work=work, on_done=done))

    def open(self, row: MatchRow) -> bool:
        """Load the scan of a match, and show it in the slice views at the place that matched.

        The scan of a server's store is read at the server and fetched; any other is a file that must be reached from
        here.

        Args:
            row: The match.

        Returns:
            False if it could not be loaded, or fetching it was not started; `note` says why.
        """
        match, path = row.match, Path(row.match.path)
        stores = self._desk.client.info.stores if self._desk.client.info is not None else ()
        if not match.path:
            self.note = UNKNOWN_PLACE.format(match.case)
        elif self._store in stores:
            return self._fetch(match)
        elif not path.exists():
            self.note = f'The scan of "{match.case}" is not on this machine: {path.name}.'
        else:
            node = self._load(path)
            if node is not None:
                self._look_at(node, match)
                return True
            self.note = f'"{path.name}" could not be loaded. Load it by hand: its path is in the row\'s tooltip.'
        self._desk.changed()
        return False

    def _fetch(self, match: Match) -> bool:
        def work(progress: ProgressCallback, cancel: CancelToken) -> Volume:
            return self._desk.client.read(match.path, progress, cancel)

        def done(volume: Volume) -> None:
            self._desk.client.note(None)
            self._desk.problem = ""
            self._look_at(volumes.add_volume(self._desk.scene, volume), match)

        return self._desk.start(Job(title=f'Fetching the scan of "{match.case}"', work=work, on_done=done))

    def _look_at(self, node: slicer.vtkMRMLScalarVolumeNode, match: Match) -> None:
        places.show_volume(self._desk.scene, node)
        place = match.place.center_ras if match.place else volumes.center_of(node)
        places.go_to(self._desk.scene, place, center=True)
        self.note = OPENED.format(match.case)
        self._desk.changed()

    def _show(self, store: str, found: tuple[Match, ...], note: str, searched: Case | None = None) -> None:
        self._store, self._found, self._searched, self.note = store, found, searched, note
        self._desk.problem = ""
        self._desk.changed()


def _object_region(session: Session, label: int) -> RegionMask:
    region = Crop.around(session.segmentation.labelmap == label)
    if region.is_empty:
        msg = f"Expected voxels in object {label}, found none. Segment the place first, or search for the whole scan."
        raise StoreError(msg)
    return region
