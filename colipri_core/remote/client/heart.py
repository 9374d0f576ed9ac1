"""Heartbeats: while a front end has a session open, its lease at the server does not run out."""

from __future__ import annotations

import threading
import time
import weakref

from colipri_core.remote.client.link import Link

_BEATS_A_LEASE = 3


class Heart:
    """Renews the leases of all sessions of an engine, from one thread that starts with the first of them."""

    def __init__(self) -> None:
        self._links: weakref.WeakSet[Link] = weakref.WeakSet()
        self._stopped = False
        self._woken = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def tend(self, link: Link) -> None:
        """Renew the lease of a session as long as somebody holds it.

        Args:
            link: Its tie to the server.
        """
        link.on_lease = self._woken.set  # a shorter lease than was thought of must not run out first
        with self._lock:
            self._links.add(link)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="colipri-heart", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Renew no more."""
        self._stopped = True
        self._woken.set()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stopped:
            self._woken.wait(max(0.0, last + self._pause_s() - time.monotonic()))
            self._woken.clear()
            if not self._stopped and time.monotonic() - last >= self._pause_s():
                for link in self._held():
                    link.heartbeat()
                last = time.monotonic()

    def _pause_s(self) -> float:
        return min((link.lease_s for link in self._held()), default=60.0) / _BEATS_A_LEASE

    def _held(self) -> list[Link]:
        with self._lock:
            return list(self._links)
