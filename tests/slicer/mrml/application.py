"""Runs the real `Colipri.py` and Segment Editor effect on real MRML without the application.

PySide6 stands for Slicer's `qt`. What else the application adds in Python is replaced by as little as the module asks
of it, so this finds errors of the module and not those of Slicer's own widgets.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import time
import types
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import slicer
import slicer.util
import widgets
from extension import EXTENSION
from PySide6 import QtCore
from PySide6 import QtGui
from PySide6 import QtWidgets

EFFECT = EXTENSION / "SegmentEditorColipri" / "SegmentEditorColipriLib" / "SegmentEditorEffect.py"
NAME = "Colipri"


class _Loadable:
    """Stands for the base classes of a scripted module, its logic and its test."""

    def __init__(self, parent: Any = None) -> None:
        self.parent = parent

    def getParameterNode(self) -> Any:  # noqa: N802 - Slicer's name
        """The singleton of the scene."""
        node = slicer.mrmlScene.GetSingletonNode(NAME, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.SetSingletonTag(NAME)
            node.SetModuleName(NAME)
            node = slicer.mrmlScene.AddNode(node)
        return node


class _Widget(_Loadable):
    """Stands for the base class of a module's widget."""

    layout = types.SimpleNamespace(addWidget=lambda widget: None)

    def setup(self) -> None:
        """Nothing."""

    def resourcePath(self, path: str) -> str:  # noqa: N802 - Slicer's name
        """The path as it is."""
        return path


def parameter_node_wrapper(kind: Any) -> Any:
    """Stands for Slicer's wrapper: what is typed as the server's address goes into the parameter node as it stands."""

    def connect(wrapper: Any, ui: Any) -> Any:
        ui.serverEdit.setText(wrapper.parameterNode.GetParameter("server") or kind.server)
        return ui.serverEdit.textChanged.connect(lambda text: wrapper.parameterNode.SetParameter("server", text))

    kind.__init__ = lambda self, node: setattr(self, "parameterNode", node)
    kind.connectGui = connect
    kind.disconnectGui = lambda self, tag: QtCore.QObject.disconnect(tag)
    return kind


class _Effect:
    """Stands for the base class of scripted effects."""

    def __init__(self, effect: Any) -> None:
        self.scriptedEffect = effect


def qt_module() -> types.ModuleType:
    """PySide6 as the one module that Slicer has for Qt."""
    module = types.ModuleType("qt")
    for part in (QtCore, QtGui, QtWidgets):
        for name in dir(part):
            if name.startswith("Q"):
                setattr(module, name, getattr(part, name))
    return module


def _module(name: str, **values: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(values)
    return module


class Application:
    """The module as it is run in the application.

    Args:
        patch: Takes everything back afterwards.
        folder: Where the module keeps its files.
    """

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.settings: dict[str, str] = {}
        self.errors: list[str] = []
        self._patch = patch
        panel, ui = widgets.load()
        panel.setMRMLScene = lambda scene: None
        self._keep = panel
        base = _module(
            "slicer.ScriptedLoadableModule",
            ScriptedLoadableModule=_Loadable,
            ScriptedLoadableModuleLogic=_Loadable,
            ScriptedLoadableModuleTest=_Loadable,
            ScriptedLoadableModuleWidget=_Widget,
        )
        wrapper = _module("slicer.parameterNodeWrapper", parameterNodeWrapper=parameter_node_wrapper)
        effects = _module("SegmentEditorEffects", AbstractScriptedSegmentEditorEffect=_Effect)
        for module in (qt_module(), _module("slicer.i18n", tr=str), wrapper, base, effects):
            patch.setitem(sys.modules, module.__name__, module)
        self._stand_in(folder, panel, ui)
        patch.delitem(sys.modules, NAME, raising=False)
        self.module = importlib.import_module(NAME)
        self.widget = self.module.ColipriWidget()
        self.widget.setup()
        self.logic = self.widget.logic
        self.ui = self.widget.ui

    @property
    def core(self) -> Any:
        """The controllers."""
        return self.logic.core()

    def effect(self) -> Any:
        """The Segment Editor effect, and its buttons."""
        spec = importlib.util.spec_from_file_location("SegmentEditorEffect", EFFECT)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        buttons: list[Any] = []
        made = module.SegmentEditorEffect(types.SimpleNamespace(addOptionsWidget=buttons.append))
        made.setupOptionsFrame()
        return made, {button.text(): button for button in buttons}

    def until(self, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        """Let the application's events happen until something holds."""
        ending = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < ending, self.ui.problemLabel.text()
            QtWidgets.QApplication.processEvents()
            time.sleep(0.005)

    def settle(self, seconds: float = 1.0) -> None:
        """Let the work that was begun end, and see for a while that no other begins by itself."""
        self.until(lambda: not self.core.desk.runner.busy)
        ending = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > ending)
        assert not self.core.desk.runner.busy

    def _stand_in(self, folder: Path, panel: Any, ui: Any) -> None:
        settings = types.SimpleNamespace(value=self.settings.get, setValue=self.settings.__setitem__)
        interaction = types.SimpleNamespace(ViewTransform=0, SetCurrentInteractionMode=lambda mode: None)
        selection = types.SimpleNamespace(
            SetReferenceActivePlaceNodeClassName=lambda name: None, SetActivePlaceNodeID=lambda node: None
        )
        logic = types.SimpleNamespace(GetInteractionNode=lambda: interaction, GetSelectionNode=lambda: selection)
        application = types.SimpleNamespace(
            userSettings=lambda: settings,
            testingEnabled=lambda: False,
            slicerUserSettingsFilePath=str(folder / "Slicer.ini"),
            applicationLogic=lambda: logic,
        )
        self._patch.setattr(slicer, "app", application, raising=False)
        placing = types.SimpleNamespace(StartPlaceMode=lambda persistent: None)
        self._patch.setattr(slicer.modules, "markups", types.SimpleNamespace(logic=lambda: placing))
        for name, function in {
            "loadUI": lambda path: panel,
            "childWidgetVariables": lambda widget: ui,
            "startupEnvironment": dict,
            "getModuleLogic": lambda name: self.logic,
            "getModuleWidget": lambda name: self.widget,
            "tryWithErrorDisplay": lambda message: contextlib.nullcontext(),
            "errorDisplay": self.errors.append,
            "confirmOkCancelDisplay": lambda text: True,
        }.items():
            self._patch.setattr(slicer.util, name, function, raising=False)


@contextlib.contextmanager
def running(patch: pytest.MonkeyPatch, folder: Path) -> Iterator[Application]:
    """The module in an application, for the time of the body; needs a wired host."""
    application = Application(patch, folder)
    try:
        yield application
    finally:
        core = application.module.ColipriLogic._core
        application.widget.cleanup()
        if core is not None:
            assert core.desk.runner.join(60)
