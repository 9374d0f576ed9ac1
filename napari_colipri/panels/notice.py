"""Bars that say what must not be overlooked: warnings of a result in yellow, a failure in red."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame
from qtpy.QtWidgets import QHBoxLayout
from qtpy.QtWidgets import QLabel
from qtpy.QtWidgets import QToolButton


class NoticeBar(QFrame):
    """Wrapped text in a coloured bar, hidden while there is nothing to say.

    Args:
        kind: "notice" or "error".
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.setProperty("kind", kind)
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.dismiss = QToolButton()
        self.dismiss.setText("\u00d7")
        self.dismiss.setToolTip("Hide this message")
        self.dismiss.setAccessibleName("Hide message")
        self.dismiss.clicked.connect(self.hide)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 6, 4, 6)
        layout.addWidget(self.label, 1)
        layout.addWidget(self.dismiss, 0, Qt.AlignmentFlag.AlignTop)
        self.hide()

    def show_texts(self, texts: tuple[str, ...], *, again: bool = False) -> None:
        """Show these lines; none hides the bar.

        Args:
            texts: One line a message.
            again: Show them even if the user hid the same lines before.
        """
        if again or texts != tuple(self.label.text().split("\n")) or not texts:
            self.label.setText("\n".join(texts))
            self.setVisible(bool(texts))
