"""What the panel Similar leads to: search a case store for the scan, an object or a phrase, and open a match."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from colipri_core.cases import Match
from colipri_core.cases import RegionMask
from colipri_core.errors import StoreError
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.prompts.crop import Crop
from colipri_core.session import Session
from ColipriLib.case import Case
from ColipriLib.desk import Desk
from ColipriLib.job import Job
from ColipriLib.rows import MatchRow

NUM_MATCHES = 8
"""Matches that are listed (our choice)."""

PRESENT_FROM = 0.5
"""Probability from which a finding of the current scan counts as there when matches are compared with it."""

NO_STORE = "Expected the name of a case store, found none. Choose one that the server offers, or enter its folder."


class SimilarCases:
    """Searches for the chosen CT.

    Args:
        desk: Scene, connection and worker.
        open_match: Loads the scan of a match into the scene; returns False if it could not.
    """

    def __init__(self, desk: Desk, open_match: Callable[[Path], bool]) -> None:
        self.note = ""
        self._desk = desk
        self._open_match = open_match
        self._found: tuple[Match, ...] = ()

    @property
    def rows(self) -> tuple[MatchRow, ...]:
        """The matches found last, set against the findings of the chosen CT."""
        case = self._desk.case
        here = frozenset(row.name for row in case.findings if row.probability >= PRESENT_FROM) if case else frozenset()
        return tuple(
            MatchRow(match=match, shared=match.shared_findings(here), other=match.other_findings(here))
            for match in self._found
        )

    def find(self, *, by_object: bool = False) -> bool:
        """Look for cases like the chosen CT, or with a place like the current object.

        Args:
            by_object: Take the current object's voxels as the place.

        Returns:
            False if nothing was started.
        """
        store, label = self._desk.params.text("store"), self._desk.params.object
        if not store:
            self._desk.fail(StoreError(NO_STORE))
            return False

        def ask(session: Session, progress: ProgressCallback, cancel: CancelToken) -> tuple[Match, ...]:
            region = _object_region(session, label) if by_object else None
            found = session.similar(
                self._desk.client.store(store), NUM_MATCHES + 1, region=region, progress=progress, cancel=cancel
            )
            others = [match for match in found if match.volume_sha256 != session.volume.sha256]
            return tuple(others[:NUM_MATCHES])

        def take(case: Case, found: tuple[Match, ...]) -> None:
            self._show(found, "" if found else "The store has no other case.")

        title = "Looking for the object elsewhere" if by_object else "Looking for similar cases"
        return self._desk.run(title, ask, take)

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
        self._desk.client.address = self._desk.params.text("server")

        def work(progress: ProgressCallback, cancel: CancelToken) -> tuple[Match, ...]:
            engine = self._desk.client.connect(progress, cancel)
            query = engine.embed_text(text, contrast=True)
            return tuple(self._desk.client.store(store).search(query, NUM_MATCHES, by_region=True))

        def done(found: tuple[Match, ...]) -> None:
            self._desk.client.note(None)
            self._show(found, "" if found else "The store has no cases yet.")

        return self._desk.start(Job(title=f'Searching for "{text}"', work=work, on_done=done))

    def open(self, row: MatchRow) -> None:
        """Load the scan of a match into the scene, where its file can be reached from here.

        Args:
            row: The match.
        """
        path = Path(row.match.path)
        if not row.match.path:
            self.note = f'It is not known where the scan of "{row.match.case}" lies: its server does not say.'
        elif not path.exists():
            self.note = f'The scan of "{row.match.case}" is not on this machine: {path.name}.'
        elif not self._open_match(path):
            self.note = f'"{path.name}" could not be loaded. Load it by hand: its path is in the row\'s tooltip.'
        else:
            self.note = ""
        self._desk.changed()

    def _show(self, found: tuple[Match, ...], note: str) -> None:
        self._found, self.note = found, note
        self._desk.problem = ""
        self._desk.changed()


def _object_region(session: Session, label: int) -> RegionMask:
    region = Crop.around(session.segmentation.labelmap == label)
    if region.is_empty:
        msg = f"Expected voxels in object {label}, found none. Segment the place first, or search for the whole scan."
        raise StoreError(msg)
    return region
