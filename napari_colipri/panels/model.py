"""The model panel: which CT, which model, which device, Analyse, and how the CT is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup
from qtpy.QtWidgets import QComboBox
from qtpy.QtWidgets import QFileDialog
from qtpy.QtWidgets import QGridLayout
from qtpy.QtWidgets import QHBoxLayout
from qtpy.QtWidgets import QLabel
from qtpy.QtWidgets import QPushButton
from qtpy.QtWidgets import QSizePolicy
from qtpy.QtWidgets import QStackedWidget
from qtpy.QtWidgets import QToolButton
from qtpy.QtWidgets import QVBoxLayout
from qtpy.QtWidgets import QWidget
from superqt import QElidingLabel

from napari_colipri.backend import ModelChoice
from napari_colipri.panels.progress import ProgressStrip
from napari_colipri.panels.server import ServerPanel
from napari_colipri.preferences import token_of

PLACES = {"This computer": False, "A server": True}
"""Where the model runs -> whether that is a server."""

DEVICES = {"Auto": "auto", "CPU": "cpu", "CUDA": "cuda", "Apple": "mps"}
_NO_CT = "Drop a DICOM folder or a NIfTI file."


class SegmentedButtons(QWidget):
    """A row of joined buttons of which one is pressed, or none.

    Args:
        names: Their texts.
        name: What a screen reader calls them.
        keys: The keys that press them, for their tooltips.
    """

    chosen = Signal(str)

    def __init__(self, names: Sequence[str], name: str, keys: Sequence[str]) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.buttons = {text: QPushButton(text) for text in names}
        self._group = QButtonGroup(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(1)
        for position, (text, button) in enumerate(self.buttons.items()):
            button.setCheckable(True)
            button.setProperty("kind", "segment")
            button.setProperty("edge", {0: "left", len(names) - 1: "right"}.get(position, "middle"))
            button.setAccessibleName(f"{name}: {text}")
            button.setToolTip(f"{text} ({keys[position]})")
            button.clicked.connect(lambda _checked, text=text: self.chosen.emit(text))
            self._group.addButton(button)
            layout.addWidget(button, 1)

    def press(self, text: str | None) -> None:
        """Press one without saying so; None releases all.

        Args:
            text: Text of the button.
        """
        self._group.setExclusive(False)
        for name, button in self.buttons.items():
            button.setChecked(name == text)
        self._group.setExclusive(text is not None)


class ModelPanel(QWidget):
    """Source, model and view choices.

    Signals:
        layer_chosen(object): Another CT layer was chosen, or None.
        choice_changed(object): Another `ModelChoice`.
        analyse_clicked(): The main button was pressed.
        window_chosen(str): A CT window.
        plane_chosen(str): An anatomical plane.

    Args:
        models: Names to offer.
        windows: CT window -> its key.
        planes: Plane -> its key.
    """

    layer_chosen = Signal(object)
    choice_changed = Signal(object)
    analyse_clicked = Signal()
    window_chosen = Signal(str)
    plane_chosen = Signal(str)

    def __init__(self, *, models: Sequence[str], windows: Mapping[str, str], planes: Mapping[str, str]) -> None:
        super().__init__()
        self.layers = QComboBox()
        self.layers.setAccessibleName("CT layer")
        self.layers.setPlaceholderText("No CT is open")
        self.layers.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.layers.currentIndexChanged.connect(lambda: self.layer_chosen.emit(self.layers.currentData()))
        self.geometry_note = QElidingLabel(_NO_CT)
        self.geometry_note.setProperty("kind", "muted")
        self._make_model_row(models)
        self._make_place_row()
        self.analyse = QPushButton("Analyse")
        self.analyse.setProperty("kind", "primary")
        self.analyse.setToolTip("Load the model, list findings and outline structures")
        self.analyse.clicked.connect(self.analyse_clicked)
        self.progress = ProgressStrip()
        self.action = QStackedWidget()
        self.action.addWidget(self.analyse)
        self.action.addWidget(self.progress)
        self.action.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.windows = SegmentedButtons(tuple(windows), "CT window", tuple(windows.values()))
        self.windows.chosen.connect(self.window_chosen)
        self.planes = SegmentedButtons(tuple(planes), "Plane", tuple(planes.values()))
        self.planes.chosen.connect(self.plane_chosen)
        self._lay_out()

    @property
    def choice(self) -> ModelChoice:
        """The model and device, or the server, that are set."""
        if self.is_remote:
            return ModelChoice(model=self.server.url.text().strip(), token=self.server.token.text())
        return ModelChoice(model=self.models.currentText().strip(), device=self.devices.currentData())

    @property
    def is_remote(self) -> bool:
        """Whether the model runs at a server."""
        return bool(self.places.currentData())

    def set_remote(self, *, remote: bool) -> None:
        """Choose this computer or a server, as if by hand.

        Args:
            remote: Whether the model runs at a server.
        """
        self.places.setCurrentIndex(self.places.findData(remote))

    def set_choice(self, model: str, device: str) -> None:
        """Set model and device, as if chosen by hand.

        Args:
            model: Shipped bundle's name, bundle folder, hub id or URL of a server.
            device: A value of `DEVICES`, or another device torch knows; a server has its own.
        """
        remote = ModelChoice(model=model).is_remote
        if remote:
            self.server.set_server(model, token_of(model))
        self.set_remote(remote=remote)
        if remote:
            return
        self.models.setEditText(model)
        if self.devices.findData(device) < 0:
            self.devices.addItem(device, device)
        self.devices.setCurrentIndex(self.devices.findData(device))

    def set_layers(self, layers: Sequence[object], current: object | None) -> None:
        """Offer these CT layers.

        Args:
            layers: napari image layers.
            current: The one that is chosen.
        """
        self.layers.blockSignals(True)
        self.layers.clear()
        for layer in layers:
            self.layers.addItem(layer.name, layer)
        self.layers.setCurrentIndex(next((i for i, layer in enumerate(layers) if layer == current), -1))
        self.layers.blockSignals(False)
        self.layers.setEnabled(bool(layers))

    def show_geometry(self, text: str | None) -> None:
        """Describe the chosen CT in a line.

        Args:
            text: Size, spacing and orientation; None when no CT is chosen.
        """
        self.geometry_note.setText(text or _NO_CT)
        self.geometry_note.setToolTip(text or "")
        self.windows.setEnabled(text is not None)
        self.planes.setEnabled(text is not None)

    def set_busy(self, *, busy: bool, ready: bool) -> None:
        """Swap the main button for the progress bar.

        Args:
            busy: Whether a job is running.
            ready: Whether a CT is chosen.
        """
        self.action.setCurrentWidget(self.progress if busy else self.analyse)
        self.analyse.setEnabled(ready and not busy)
        for widget in (self.models, self.folder, self.devices, self.places, self.server):
            widget.setEnabled(not busy)

    def _make_model_row(self, models: Sequence[str]) -> None:
        self.models = QComboBox()
        self.models.setEditable(True)
        self.models.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.models.addItems(list(models))
        self.models.setAccessibleName("Model")
        self.models.setToolTip("A shipped model, a bundle folder, or a hub id such as microsoft/colipri")
        self.models.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.models.currentTextChanged.connect(lambda: self.choice_changed.emit(self.choice))
        self.folder = QToolButton()
        self.folder.setText("Folder")
        self.folder.setProperty("kind", "plain")
        self.folder.setToolTip("Choose the folder of a model bundle")
        self.folder.setAccessibleName("Choose a model folder")
        self.folder.clicked.connect(self._choose_folder)
        self.devices = QComboBox()
        self.devices.setAccessibleName("Device")
        self.devices.setToolTip("Where the model runs; Auto takes a GPU when there is one")
        for text, device in DEVICES.items():
            self.devices.addItem(text, device)
        self.devices.currentIndexChanged.connect(lambda: self.choice_changed.emit(self.choice))

    def _make_place_row(self) -> None:
        self.places = QComboBox()
        self.places.setAccessibleName("Where the model runs")
        self.places.setToolTip("A model of this computer, or one that `colipri serve` runs on another")
        for text, remote in PLACES.items():
            self.places.addItem(text, remote)
        self.server = ServerPanel()
        self.places.currentIndexChanged.connect(self._on_place)
        self.server.edited.connect(lambda: self.choice_changed.emit(self.choice))

    def _on_place(self) -> None:
        self.model_stack.setCurrentIndex(int(self.is_remote))
        for page in range(self.model_stack.count()):  # a hidden page must not take room
            policy = QSizePolicy.Policy.Preferred if page == int(self.is_remote) else QSizePolicy.Policy.Ignored
            self.model_stack.widget(page).setSizePolicy(QSizePolicy.Policy.Preferred, policy)
        self.model_stack.updateGeometry()
        self.choice_changed.emit(self.choice)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(6)
        grid.setColumnStretch(1, 1)
        local = QWidget()
        model_row = QHBoxLayout(local)
        model_row.setContentsMargins(0, 0, 0, 0)
        model_row.setSpacing(4)
        model_row.addWidget(self.models, 1)
        model_row.addWidget(self.folder)
        model_row.addWidget(self.devices)
        self.model_stack = QStackedWidget()
        self.model_stack.addWidget(local)
        self.model_stack.addWidget(self.server)
        self._on_place()
        rows = (
            ("CT", self.layers),
            ("", self.geometry_note),
            ("Runs on", self.places),
            ("Model", self.model_stack),
            ("Window", self.windows),
            ("Plane", self.planes),
        )
        for row, (title, content) in enumerate(rows):
            if content is self.geometry_note:
                grid.addWidget(content, row, 0, 1, 2)
                continue
            label = QLabel(title)
            label.setProperty("kind", "field")
            grid.addWidget(label, row, 0, Qt.AlignmentFlag.AlignVCenter)
            grid.addWidget(content, row, 1)
        layout.addLayout(grid)
        layout.addWidget(self.action)

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of a model bundle")
        if folder:
            self.models.setEditText(folder)
