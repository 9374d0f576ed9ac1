"""Progress of the running job, with Cancel."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout
from qtpy.QtWidgets import QProgressBar
from qtpy.QtWidgets import QPushButton
from qtpy.QtWidgets import QWidget
from superqt import QElidingLabel

_STEPS = 1000


class ProgressStrip(QWidget):
    """What is being done, how far it is, and a button to stop it."""

    cancel_clicked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.label = QElidingLabel()
        self.bar = QProgressBar()
        self.bar.setRange(0, _STEPS)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.bar.setAccessibleName("Progress")
        self.cancel = QPushButton("Cancel")
        self.cancel.clicked.connect(self._cancel)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setVerticalSpacing(2)
        layout.addWidget(self.label, 0, 0)
        layout.addWidget(self.bar, 1, 0)
        layout.addWidget(self.cancel, 0, 1, 2, 1)
        layout.setColumnStretch(0, 1)

    def begin(self, title: str) -> None:
        """Start from zero.

        Args:
            title: What is being done.
        """
        self.label.setText(title)
        self.bar.setValue(0)
        self.cancel.setEnabled(True)
        self.cancel.setText("Cancel")

    def advance(self, fraction: float, message: str) -> None:
        """Show how far the job is.

        Args:
            fraction: Finished share in [0, 1].
            message: What is being done; empty keeps the last text.
        """
        self.bar.setValue(round(fraction * _STEPS))
        if message:
            self.label.setText(message)

    def _cancel(self) -> None:
        self.cancel.setEnabled(False)
        self.cancel.setText("Stopping...")
        self.cancel_clicked.emit()
