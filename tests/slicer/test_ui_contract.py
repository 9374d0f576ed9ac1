"""Colipri.ui against the code: every widget the code names exists, and what shows only at run time holds."""

from __future__ import annotations

import ast
from xml.etree import ElementTree

import pytest
from extension import EXTENSION
from extension import LIBRARY
from extension import UI

TREE = ElementTree.parse(UI)
NAMES = {widget.get("name"): widget for widget in TREE.iter("widget")}


def names_used() -> set[str]:
    """Every X of `ui.X` in the module's code, and those that are looked up by a list of names."""
    found = set()
    for path in (EXTENSION / "Colipri" / "Colipri.py", LIBRARY / "wiring.py", LIBRARY / "panels.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"ui", "self.ui", "self._ui"}:
                found.add(node.attr)
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and node.value.endswith(("Button", "Table", "Edit", "Check"))
            ):
                found.add(node.value)
    return found


def test_every_widget_the_code_names_exists() -> None:
    used = names_used()

    assert len(used) > 50
    assert used - set(NAMES) == {"Button", "ServerButton"}, "only the end of names that are put together may be missing"


@pytest.mark.parametrize("name", ["undo", "redo"])
def test_names_that_are_put_together_exist(name: str) -> None:
    assert f"{name}Button" in NAMES


@pytest.mark.parametrize("name", ["install", "start", "stop", "remove"])
def test_buttons_of_the_managed_server_exist(name: str) -> None:
    source = (EXTENSION / "Colipri" / "Colipri.py").read_text(encoding="utf-8")

    assert f"{name}ServerButton" in NAMES
    assert f"def on_{name}_server(" in source


def test_every_button_leads_somewhere() -> None:
    used = names_used() | {"undoButton", "redoButton"}
    used |= {f"{name}ServerButton" for name in ("install", "start", "stop", "remove")}
    buttons = {name for name, widget in NAMES.items() if widget.get("class") in {"QPushButton", "QCheckBox"}}

    assert buttons - used == set()


def test_every_button_and_field_says_what_it_does() -> None:
    silent = [
        name
        for name, widget in NAMES.items()
        if widget.get("class") in {"QPushButton", "QLineEdit", "QCheckBox", "QComboBox", "QTableWidget"}
        and widget.find("property[@name='toolTip']") is None
    ]

    assert silent == []


def test_custom_widgets_are_declared() -> None:
    declared = {item.findtext("class") for item in TREE.iter("customwidget")}
    own = {widget.get("class") for widget in TREE.iter("widget") if not str(widget.get("class")).startswith("Q")}

    assert own <= declared
    assert own == {"ctkCollapsibleButton", "qMRMLNodeComboBox", "qMRMLWidget"}


def test_every_selector_of_nodes_gets_the_scene() -> None:
    selectors = {name for name, widget in NAMES.items() if widget.get("class") == "qMRMLNodeComboBox"}
    wired = {
        connection.findtext("receiver")
        for connection in TREE.iter("connection")
        if connection.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)"
        and connection.findtext("slot") == "setMRMLScene(vtkMRMLScene*)"
    }

    assert selectors == wired != set()


def test_parameters_that_widgets_are_connected_to_are_those_of_the_parameter_node() -> None:
    named = {prop.findtext("string") for prop in TREE.iter("property") if prop.get("name") == "SlicerParameterName"}
    tree = ast.parse((EXTENSION / "Colipri" / "Colipri.py").read_text(encoding="utf-8"))
    (node,) = (item for item in tree.body if isinstance(item, ast.ClassDef) and item.name == "ColipriParameterNode")
    fields = {item.target.id for item in node.body if isinstance(item, ast.AnnAssign)}

    assert named == fields


def test_the_file_loads(qapp: object) -> None:
    loader = pytest.importorskip("PySide6.QtUiTools", reason="PySide6 is not installed").QUiLoader()
    widget = loader.load(str(UI))

    assert widget is not None, loader.errorString()
    found = {child.objectName() for child in widget.findChildren(object)}
    assert set(NAMES) - found - {"Colipri"} == set()
