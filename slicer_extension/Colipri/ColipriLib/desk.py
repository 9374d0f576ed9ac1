"""The desk all panels work at: scene, parameters, connection, worker, and the case of the chosen CT.

Controllers ask here for a session on the worker and get their results back in `poll`, on the main thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from typing import TypeVar

import slicer

from colipri_core.errors import UnsupportedVolumeError
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.session import Session
from ColipriLib.case import Case
from ColipriLib.case import identity_of
from ColipriLib.client import Client
from ColipriLib.job import Job
from ColipriLib.job import Runner
from ColipriLib.params import Parameters
from ColipriLib.scene import volumes

Result = TypeVar("Result")
Ask = Callable[[Session, ProgressCallback, CancelToken], Result]

CLOSING_S = 3.0
"""Longest that a scene or the application is kept from closing by edits and saves that wait (our choice)."""

NOT_DONE = "Closed before this was done: {}. If the scene was saved, open it and do it again."
CHANGED = "The volume or its transform was changed since it was analysed: its results were taken away."


class Desk:
    """What the controllers share.

    Args:
        scene: The scene.
        node: The module's parameter node.
        client: The connection.
        on_change: Called on the main thread whenever what panels show may have changed.
    """

    def __init__(
        self, scene: slicer.vtkMRMLScene, node: Any, *, client: Client, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self.scene = scene
        self.params = Parameters(node)
        self.client = client
        self.problem = ""
        self.tested = ""
        self.changed = on_change
        self.runner = Runner(self.fail, self.changed)
        self._cases: dict[str, Case] = {}

    @property
    def volume_node(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The chosen CT's node."""
        return self.params.node_of("volume")

    @property
    def case(self) -> Case | None:
        """The case of the chosen CT if there is one already, without looking whether the volume changed."""
        return self.case_of(self.volume_node)

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases of all CTs that are in the scene."""
        return tuple(case for case in self._cases.values() if self.scene.IsNodePresent(case.node))

    def case_of(self, node: slicer.vtkMRMLScalarVolumeNode | None) -> Case | None:
        """The case of a CT if there is one already.

        Args:
            node: The CT, or None.
        """
        return self._cases.get(node.GetID()) if node is not None else None

    def choose(self, node: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Make a volume the current CT; results it already has are shown again.

        Args:
            node: The volume, or None.
        """
        self.params.set_node("volume", node)
        self.problem = ""
        self.changed()

    def take(self) -> Case:
        """Return the case of the chosen CT, begun anew if the volume changed.

        Raises:
            UnsupportedVolumeError: If there is no volume, or it cannot be taken as a CT.
        """
        node, case = self.volume_node, self.case
        volumes.check_kind(node)
        if case is None or case.identity != identity_of(node):
            former, case = case, Case.take(node)
            if former is not None:
                case.warn((CHANGED,))
            self._cases[node.GetID()] = case
        return case

    def keep(self, case: Case) -> None:
        """Make a case that was restored the one of its volume.

        Args:
            case: The case.
        """
        self._cases[case.node.GetID()] = case

    def run(
        self,
        title: str,
        ask: Ask[Result],
        take: Callable[[Case, Result], None],
        *,
        case: Case | None = None,
        ready: Callable[[Case], None] = lambda case: None,
        **how: Any,
    ) -> bool:
        """Ask the session of a CT on the worker.

        Args:
            title: What is being done.
            ask: Asks; on the worker.
            take: Receives case and result on the main thread, if the volume is still in the scene.
            case: The CT's case; None for that of the chosen CT.
            ready: Called with the case on the main thread when its turn has come, just before `ask`.
            **how: Further fields of `Job`.

        Returns:
            False if nothing was started: no fit CT or no address (`problem` says why), or other work is running.
        """
        try:
            asked = self.take() if case is None else case
        except UnsupportedVolumeError as error:
            self.fail(error)
            return False
        if not self.prepare_client():
            return False

        def work(progress: ProgressCallback, cancel: CancelToken) -> Result:
            session, rest = self.client.session(asked.volume, progress, cancel)
            return ask(session, rest, cancel)

        def done(result: Result) -> None:
            self.client.note(None)
            self.problem = ""
            if self.scene.IsNodePresent(asked.node):
                self.note_model(asked)
                take(asked, result)
            self.changed()

        return self.start(Job(title=title, work=work, on_done=done, on_start=lambda: ready(asked), **how))

    def start(self, job: Job) -> bool:
        """Start any job, and say so.

        Args:
            job: The job.

        Returns:
            False if other work is running.
        """
        started = self.runner.start(job)
        self.changed()
        return started

    def connect(self, then: Callable[[], None] = lambda: None) -> bool:
        """Connect to the chosen server, without asking anything of it.

        Args:
            then: Called once it is connected.

        Returns:
            False if other work is running, or the address is none.
        """
        if not self.prepare_client():
            return False

        def done(words: str) -> None:
            self.client.note(None)
            self.problem, self.tested = "", words
            then()

        return self.start(Job(title="Connecting", work=self.client.test, on_done=done))

    def prepare_client(self) -> bool:
        """Tell the client which server was chosen, before any work with it.

        Returns:
            False if what was entered is no address; `problem` says so.
        """
        try:
            self.client.address = self.params.server
        except ValueError as error:
            self.fail(error)
            return False
        return True

    def fail(self, error: Exception) -> None:
        """Show an error where people look, and remember if the server is gone.

        Args:
            error: The error.
        """
        self.client.note(error)
        self.problem = str(error) or type(error).__name__
        self.changed()

    def note_model(self, case: Case) -> None:
        """Write the connected model beside the results of a case.

        Args:
            case: The case.
        """
        if self.client.info is not None:
            case.notice = self.client.info.card.notice

    def forget(self) -> None:
        """Let go of all cases and of the session: the scene is closing. The connection stays.

        Edits and saves that wait behind what runs are done first, if it does not take long; else `problem` says so.
        """
        self.problem = ""
        self._finish()
        self._cases.clear()
        self.runner.afterwards(self.client.release)

    def close(self) -> None:
        """Do what waits if it does not take long, cancel what runs, and close the connection, on the worker."""
        self._finish()
        self.runner.close(self.client.close)
        self._cases.clear()

    def _finish(self) -> None:
        left = self.runner.finish(CLOSING_S)
        if left:
            self.problem = NOT_DONE.format(", ".join(left))
            logging.warning(self.problem)
