"""All controllers on one desk, made once by `Colipri.py` for all scenes; the Segment Editor effect talks to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from ColipriLib import saving
from ColipriLib.analysis import Analysis
from ColipriLib.client import Client
from ColipriLib.desk import Desk
from ColipriLib.labelling import Labelling
from ColipriLib.presenter import View
from ColipriLib.presenter import present
from ColipriLib.reporting import Reporting
from ColipriLib.similar import Loader
from ColipriLib.similar import SimilarCases


class ModuleLogic:
    """The module without its widgets.

    Args:
        scene: The scene.
        node: The module's parameter node.
        client: The connection; None for one to servers.
        load: Loads a scan into the scene from its file.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        node: Any,
        *,
        client: Client | None = None,
        load: Loader = lambda path: None,
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self.desk = Desk(scene, node, client=client or Client(), on_change=self._changed)
        self.analysis = Analysis(self.desk)
        self.labelling = Labelling(self.desk)
        self.reporting = Reporting(self.desk, self.analysis)
        self.similar = SimilarCases(self.desk, self.labelling, load)

    def view(self) -> View:
        """What the panels show now."""
        return present(self)

    def poll(self) -> None:
        """Take note of what happened on the worker; a timer calls this."""
        self.desk.runner.poll()

    def wait(self, timeout_s: float = 60.0) -> None:
        """Poll until nothing is running; for scripts and tests.

        Args:
            timeout_s: Longest to wait.
        """
        self.desk.runner.wait(timeout_s)

    def restore(self) -> None:
        """Take up what the scene holds of the chosen CT."""
        saving.restore(self.desk)

    def forget(self) -> None:
        """Let go of what belongs to the scene, which is closing; connection and callbacks stay."""
        self.desk.forget()

    def begin(self, node: Any) -> None:
        """Go on with a scene that was emptied or loaded.

        Args:
            node: The module's parameter node in it.
        """
        self.desk.params.node = node
        self.restore()

    def close(self) -> None:
        """Cancel what runs and close the connection."""
        self.on_change = lambda: None
        self.desk.close()

    def _changed(self) -> None:
        if not self.desk.runner.busy:
            saving.save(self.desk)
        self.on_change()
