"""Local or remote, as the Model panel chooses it: remembered, tested on request, lost and found connections said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtCore import Signal

from colipri_core.remote.client import ConnectionReport
from colipri_core.remote.client import check_connection
from napari_colipri import preferences
from napari_colipri.preferences import ServerPreference
from napari_colipri.work import Job
from napari_colipri.work import Runner

if TYPE_CHECKING:
    import napari.components

    from colipri_core.progress import CancelToken
    from colipri_core.progress import ProgressCallback
    from napari_colipri.backend import Backend
    from napari_colipri.panels.model import ModelPanel


class ServerChoice(QObject):
    """Ties the Model panel's choice of a server to preferences, worker and status line.

    Args:
        panel: The Model panel.
        runner: Runs the test of a connection.
        backend: Tells of lost connections, from any thread.
        viewer: Has the status line.
    """

    _noticed = Signal(str)

    def __init__(
        self, panel: ModelPanel, runner: Runner, backend: Backend, viewer: napari.components.ViewerModel
    ) -> None:
        super().__init__()
        self._panel = panel
        self._runner = runner
        self._backend = backend
        self._viewer = viewer
        self._noticed.connect(self._show_notice)
        backend.notify = self._noticed.emit
        remembered = preferences.remembered()
        panel.server.set_server(remembered.url, preferences.token_of(remembered.url))
        panel.set_remote(remote=remembered.use_server)
        panel.server.url_left.connect(lambda url: panel.server.token.setText(preferences.token_of(url)))
        panel.server.test_clicked.connect(self.test)
        panel.choice_changed.connect(lambda _choice: self._remember())

    def test(self) -> None:
        """Try the server that is given, on the worker, and say what was found."""
        server = self._panel.server
        url, token = server.url.text().strip(), server.token.text()
        server.say("Testing ...")

        def work(progress: ProgressCallback, cancel: CancelToken) -> ConnectionReport:
            return check_connection(url, token)

        job = Job(title="Testing the connection", work=work, on_done=server.show_report)
        if not self._runner.start(job):
            server.say("Something else is running. Try again once it is done.")

    def close(self) -> None:
        """Listen no more."""
        self._backend.notify = _quiet

    def _remember(self) -> None:
        server = self._panel.server
        url = server.url.text().strip()
        preferences.remember(ServerPreference(use_server=self._panel.is_remote, url=url))
        preferences.keep_token(url, server.token.text())

    def _show_notice(self, words: str) -> None:
        self._viewer.status = words
        self._panel.server.say(words)


def _quiet(words: str) -> None:
    """Nobody is there to be told."""
