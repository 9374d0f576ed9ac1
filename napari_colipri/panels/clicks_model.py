"""The row that chooses what answers prompts: the shipped segmenter, a bundle of one's own, or nnInteractive."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox
from qtpy.QtWidgets import QFileDialog
from qtpy.QtWidgets import QHBoxLayout
from qtpy.QtWidgets import QLabel
from qtpy.QtWidgets import QToolButton
from qtpy.QtWidgets import QVBoxLayout
from qtpy.QtWidgets import QWidget

SHIPPED = "clicks"
NNINTERACTIVE = "nninteractive"
LICENCE_NOTE = "nnInteractive's weights are CC BY-NC-SA 4.0: not for commercial use."


class ClicksModelRow(QWidget):
    """Which interactive model is used.

    Signals:
        changed(str): Another one was chosen.
    """

    changed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.models = QComboBox()
        self.models.setEditable(True)
        self.models.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.models.addItems([SHIPPED, NNINTERACTIVE])
        self.models.setAccessibleName("Model for clicks")
        self.models.setToolTip(
            "What answers clicks, boxes and strokes: clicks, the folder of a bundle that colipri-train clicks wrote, "
            "or an installed nninteractive (nninteractive:FOLDER for a checkpoint of your own)"
        )
        self.models.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.models.currentTextChanged.connect(self._on_text)
        self.folder = QToolButton()
        self.folder.setText("Folder")
        self.folder.setProperty("kind", "plain")
        self.folder.setToolTip("Choose the folder of a bundle for clicks")
        self.folder.setAccessibleName("Choose a folder for clicks")
        self.folder.clicked.connect(self._choose_folder)
        self.note = QLabel(LICENCE_NOTE)
        self.note.setProperty("kind", "muted")
        self.note.setWordWrap(True)
        self.note.hide()
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.models, 1)
        row.addWidget(self.folder)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(row)
        layout.addWidget(self.note)

    @property
    def choice(self) -> str:
        """What is set; the shipped one if the field is empty."""
        return self.models.currentText().strip() or SHIPPED

    def set_choice(self, model: str) -> None:
        """Set the model, as if chosen by hand.

        Args:
            model: "clicks", a bundle's folder, or "nninteractive".
        """
        self.models.setEditText(model)

    def _on_text(self) -> None:
        self.note.setVisible(self.choice.startswith(NNINTERACTIVE))
        self.changed.emit(self.choice)

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of a bundle for clicks")
        if folder:
            self.set_choice(folder)
