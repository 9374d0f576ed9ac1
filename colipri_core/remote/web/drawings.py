"""What was made for a page to draw, kept as long as its session is open."""

from __future__ import annotations

import collections
import uuid
import weakref
from pathlib import Path

from colipri_core.errors import NotFoundError
from colipri_core.remote.server.sessions import HeldSession
from colipri_core.remote.web.cases import Cases

MOST_DRAWINGS = 4
"""Images kept of a session until the page takes them (our choice); older ones are quickly made again."""


class Drawings:
    """NIfTI images by name, a few of each session; a session that is closed takes its images along."""

    def __init__(self) -> None:
        self._kept: weakref.WeakKeyDictionary[HeldSession, collections.OrderedDict[str, bytes]]
        self._kept = weakref.WeakKeyDictionary()

    def keep(self, held: HeldSession, content: bytes) -> str:
        """Keep an image and return its name.

        Args:
            held: The session.
            content: The image.
        """
        images = self._kept.setdefault(held, collections.OrderedDict())
        name = uuid.uuid4().hex
        images[name] = content
        while len(images) > MOST_DRAWINGS:
            images.popitem(last=False)
        return name

    def get(self, held: HeldSession, name: str) -> bytes:
        """Return an image.

        Raises:
            NotFoundError: If it is no longer kept.
        """
        images = self._kept.get(held)
        content = images.get(name) if images is not None else None
        if content is None:
            msg = "Expected the name of an image made a moment ago, found none of it. Ask for the result again."
            raise NotFoundError(msg)
        return content


class WebState:
    """What the routes of the page share; kept as `app.state.web`.

    Args:
        cases: What can be opened.
        uploads: Folder in which files that are sent lie while they are read.
    """

    def __init__(self, cases: Cases, uploads: Path) -> None:
        self.cases = cases
        self.uploads = uploads
        self.drawings = Drawings()
