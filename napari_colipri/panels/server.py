"""Which server runs the model: its address, its token, and whether it answers."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout
from qtpy.QtWidgets import QLabel
from qtpy.QtWidgets import QLineEdit
from qtpy.QtWidgets import QPushButton
from qtpy.QtWidgets import QVBoxLayout
from qtpy.QtWidgets import QWidget

from colipri_core.remote.client import ConnectionReport


class ServerPanel(QWidget):
    """Address and token of a server, and *Test connection*.

    Signals:
        edited(): Address or token was changed and left.
        url_left(str): Another address was given.
        test_clicked(): *Test connection* was pressed.
    """

    edited = Signal()
    url_left = Signal(str)
    test_clicked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.url = QLineEdit()
        self.url.setPlaceholderText("http://gpu-host:8765")
        self.url.setAccessibleName("Address of the server")
        self.url.setToolTip("Where `colipri serve` runs")
        self.token = QLineEdit()
        self.token.setEchoMode(QLineEdit.EchoMode.Password)
        self.token.setPlaceholderText("Token, if it wants one")
        self.token.setAccessibleName("Token of the server")
        self.token.setToolTip("Kept in the keyring of this system where there is one, never in a file of napari's")
        self.test = QPushButton("Test connection")
        self.test.setAccessibleName("Test connection")
        self.test.clicked.connect(self.test_clicked)
        self.answer = QLabel()
        self.answer.setWordWrap(True)
        self.answer.setProperty("kind", "muted")
        self.answer.hide()
        self._left_url = ""
        self.url.editingFinished.connect(self._leave_url)
        self.token.editingFinished.connect(self.edited)
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.token, 1)
        row.addWidget(self.test)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.url)
        layout.addLayout(row)
        layout.addWidget(self.answer)

    def set_server(self, url: str, token: str) -> None:
        """Show a server, as if given by hand.

        Args:
            url: Its address.
            token: Its token.
        """
        self.url.setText(url)
        self.token.setText(token)
        self._left_url = url
        self.edited.emit()

    def say(self, words: str) -> None:
        """Show a line below the fields; empty text hides it.

        Args:
            words: What is to be said.
        """
        self.answer.setText(words)
        self.answer.setVisible(bool(words))

    def show_report(self, report: ConnectionReport) -> None:
        """Show what a test of the connection found.

        Args:
            report: What it found.
        """
        self.say(f"\u2713 {report.words}" if report.ok else f"\u2717 {report.words}")
        self.answer.setToolTip(report.card.notice if report.card is not None else "")

    def _leave_url(self) -> None:
        url = self.url.text().strip()
        if url != self._left_url:
            self._left_url = url
            self.say("")
            self.url_left.emit(url)
        self.edited.emit()
