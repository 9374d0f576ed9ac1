"""Heartbeats: while a front end has a session open, its lease at the server does not run out."""

from __future__ import annotations

import threading
import weakref

from colipri_core.remote.client.link import Link

_BEATS_A_LEASE = 3


class Heart:
    """Renews the leases of all sessions of an engine, from one thread that starts with the first of them."""

    def __init__(self) -> None:
        self._links: weakref.WeakSet[Link] = weakref.WeakSet()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def tend(self, link: Link) -> None:
        """Renew the lease of a session as long as somebody holds it.

        Args:
            link: Its tie to the server.
        """
        with self._lock:
            self._links.add(link)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="colipri-heart", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Renew no more."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s()):
            for link in self._held():
                link.heartbeat()

    def _pause_s(self) -> float:
        return min((link.lease_s for link in self._held()), default=60.0) / _BEATS_A_LEASE

    def _held(self) -> list[Link]:
        with self._lock:
            return list(self._links)
