"""What stays in sight whatever is folded away: research use, synthetic training data, and the model's name."""

from __future__ import annotations

from qtpy.QtWidgets import QFrame
from qtpy.QtWidgets import QHBoxLayout
from qtpy.QtWidgets import QLabel
from qtpy.QtWidgets import QVBoxLayout
from qtpy.QtWidgets import QWidget
from superqt import QElidingLabel

from napari_colipri.backend import ModelInfo


class Footer(QWidget):
    """The standing notice at the bottom of the dock."""

    def __init__(self) -> None:
        super().__init__()
        rule = QFrame()
        rule.setProperty("kind", "rule")
        self.research = QLabel("Research use only")
        self.research.setProperty("kind", "chip")
        self.research.setToolTip("Not a medical device, not for diagnosis.")
        self.synthetic = QLabel("Synthetic training data")
        self.synthetic.setProperty("kind", "chip-warning")
        self.synthetic.hide()
        self.model = QElidingLabel("No model loaded yet")
        self.model.setProperty("kind", "muted")
        chips = QHBoxLayout()
        chips.setSpacing(6)
        chips.addWidget(self.research)
        chips.addWidget(self.synthetic)
        chips.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(rule)
        layout.addLayout(chips)
        layout.addWidget(self.model)

    def show_model(self, info: ModelInfo) -> None:
        """Name the model that numbers come from.

        Args:
            info: The loaded model.
        """
        card = info.card
        self.synthetic.setVisible(card.synthetic)
        self.synthetic.setToolTip(card.training_data)
        self.model.setText(f"{card.name} ({card.sha256[:8]}) on {info.device}: {card.training_data}")
        self.model.setToolTip(f"{card.notice}\nLicence: {card.licence}\nsha256 {card.sha256}")
