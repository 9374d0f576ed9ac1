"""The real Colipri.ui in PySide6, without the application: its widgets by name, and a host that takes note."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore
from PySide6 import QtGui
from PySide6 import QtWidgets
from PySide6.QtUiTools import QUiLoader

UI = Path(__file__).resolve().parents[3] / "slicer_extension" / "Colipri" / "Resources" / "UI" / "Colipri.ui"
QT = SimpleNamespace(
    **{
        name: getattr(module, name)
        for module in (QtCore, QtGui, QtWidgets)
        for name in ("Qt", "QFont", "QBrush", "QColor", "QTableWidgetItem", "QProgressBar")
        if hasattr(module, name)
    }
)
"""Qt's classes under the names that Slicer's module `qt` has."""


class Loader(QUiLoader):
    """Loads the .ui with stand-ins for the two widgets that only Slicer has: a titled box, and a list of nodes."""

    def createWidget(self, kind: str, parent: QtWidgets.QWidget | None = None, name: str = "") -> QtWidgets.QWidget:  # noqa: N802 - Qt's name
        """Make a widget; a collapsible button becomes a group box, a node selector a combo box."""
        replaced = {"ctkCollapsibleButton": "QGroupBox", "qMRMLNodeComboBox": "QComboBox", "qMRMLWidget": "QWidget"}
        return super().createWidget(replaced.get(kind, kind), parent, name)


def _title_boxes(panel: QtWidgets.QWidget) -> None:
    """Give the boxes that stand for collapsible buttons the titles that the .ui gives those."""
    for widget in ElementTree.parse(UI).iter("widget"):
        if widget.get("class") == "ctkCollapsibleButton":
            box = panel.findChild(QtWidgets.QGroupBox, widget.get("name"))
            box.setTitle(widget.findtext("property[@name='text']/string"))


def load() -> tuple[QtWidgets.QWidget, SimpleNamespace]:
    """The panel and its widgets by name."""
    if QtWidgets.QApplication.instance() is None:
        load.application = QtWidgets.QApplication([])  # type: ignore[attr-defined] # must outlive the widgets
    loader = Loader()
    panel = loader.load(str(UI))
    assert panel is not None, loader.errorString()
    _title_boxes(panel)
    children = panel.findChildren(QtCore.QObject)
    return panel, SimpleNamespace(
        **{child.objectName(): child for child in children if child.objectName().isidentifier()}
    )


class Host:
    """Stands for the application: takes note of what it is asked."""

    def __init__(self) -> None:
        self.placing: list[tuple[Any, bool]] = []
        self.path: Path | None = None
        self.copied = ""
        self.editing = 0

    def place(self, node: Any, *, persistent: bool) -> None:
        """Take note of what is to be drawn."""
        self.placing.append((node, persistent))

    def ask_path(self, title: str, name: str, files: str) -> Path | None:
        """The path that was set."""
        return self.path

    def copy(self, text: str) -> None:
        """Take note of the clipboard."""
        self.copied = text

    def edit_segments(self) -> None:
        """Take note that the Segment Editor was asked for."""
        self.editing += 1
