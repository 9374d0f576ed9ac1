"""The module Colipri of 3D Slicer: description, parameter node, widget, logic and test; the work is in ColipriLib."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from ColipriLib import requirements
from ColipriLib import samples
from ColipriLib import server_process
from ColipriLib.params import DEFAULT_SERVER
from ColipriLib.reading import read

POLL_MS = 50
LOCAL_FIELDS = {
    "localModelEdit": "Colipri/LocalModel",
    "localStoreEdit": "Colipri/LocalStore",
    "localScansEdit": "Colipri/LocalScans",
}
"""Field of the managed server -> name of the application setting that remembers it."""


class Colipri(ScriptedLoadableModule):
    """What Slicer lists of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("COLIPRI")
        parent.categories = [_("Segmentation"), _("Chest Imaging Platform")]
        parent.dependencies = ["Segmentations", "Markups", "Volumes", "Texts"]
        parent.contributors = ["The napari-colipri developers"]
        parent.helpText = _(
            "Findings, heat maps, structures, labels by clicks, draft reports and similar cases of chest CT, from a "
            "vision-language encoder that runs in a server on this or another computer. Research use only, not for "
            'diagnosis. <a href="https://github.com/napari-colipri/napari-colipri">Documentation</a>'
        )
        parent.acknowledgementText = _("Code under Apache-2.0; each model names its own licence in the panel Model.")
        slicer.app.connect("startupCompleted()", samples.register)


@parameterNodeWrapper
class ColipriParameterNode:
    """What widgets are connected to by name; `ColipriLib.params` has the rest.

    Attributes:
        volume: The CT.
        server: Address of the server.
    """

    volume: slicer.vtkMRMLScalarVolumeNode
    server: str = DEFAULT_SERVER


class ColipriWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panels, a timer that polls, and what only the application can do."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: ColipriLogic | None = None
        self._panels: Any = None
        self._wiring: Any = None
        self._gui_tag: Any = None
        self._volume_id: str | None = None
        self._stores: tuple[str, ...] = ()
        self._parameter_node: ColipriParameterNode | None = None
        self._observed: Any = None

    def setup(self) -> None:
        """Load the panels; called once, when the module is first shown."""
        import qt

        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/Colipri.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = ColipriLogic()
        self.ui.deviceCombo.addItems(["auto", "cpu", "cuda", "mps"])
        for field, key in LOCAL_FIELDS.items():
            getattr(self.ui, field).setText(slicer.app.userSettings().value(key, ""))
        for name in ("install", "start", "stop", "remove"):
            getattr(self.ui, f"{name}ServerButton").clicked.connect(getattr(self, f"on_{name}_server"))
        for event, observer in (
            (slicer.mrmlScene.StartCloseEvent, self.on_scene_closing),
            (slicer.mrmlScene.EndCloseEvent, self.on_scene_ready),
            (slicer.mrmlScene.EndImportEvent, self.on_scene_ready),
        ):
            self.addObserver(slicer.mrmlScene, event, observer)
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self.poll)

    def enter(self) -> None:
        """The module is shown: make sure the client is there, and begin to poll."""
        self.ready()

    def ready(self) -> bool:
        """Whether the client is there and the panels are connected; tries to bring that about, and begins to poll."""
        if self._wiring is not None or self.begin():
            self._timer.start()
        return self._wiring is not None

    def begin(self) -> bool:
        """Install what the client needs if the user agrees, then connect panels and controllers."""
        problem = requirements.python_problem()
        if problem:
            self.ui.problemLabel.setText(problem)
            return False
        if requirements.missing():
            pins, confirm = settings_folder() / "pins.txt", slicer.util.confirmOkCancelDisplay
            source = requirements.source()
            if slicer.app.testingEnabled() or not requirements.install(slicer, pins, confirm=confirm, source=source):
                self.ui.problemLabel.setText(_("The client is not installed. Enter the module again to install it."))
                return False
        import qt

        from ColipriLib.panels import Panels
        from ColipriLib.scene.places import WINDOWS
        from ColipriLib.scene.places import set_window
        from ColipriLib.wiring import Wiring

        core = self.logic.core()
        self._panels = Panels(self.ui, qt)
        self._wiring = Wiring(self.ui, core, self)
        self.ui.findingsFilter.textChanged.connect(self._panels.filter_findings)
        self.ui.windowCombo.addItems(list(WINDOWS))
        self.ui.windowCombo.currentTextChanged.connect(
            lambda name: core.desk.volume_node and set_window(core.desk.volume_node, name)
        )
        core.on_change = self.refresh
        self.on_scene_ready()
        return True

    def poll(self) -> None:
        """Take note of what happened on the worker and in the managed server."""
        if self._wiring is not None:
            self.logic.core().poll()
        if self.logic.server.poll():
            self.show_server()

    def refresh(self) -> None:
        """Show the present state in the panels."""
        if self._wiring is not None:
            self._wiring.update(self._panels.show)
            stores = self.logic.core().view().similar.stores
            if stores != self._stores:
                self._stores = stores
                self.ui.storeCombo.clear()
                self.ui.storeCombo.addItems(list(stores))

    def exit(self) -> None:
        """Another module is shown: work goes on, and is polled until it ends."""
        if not self.logic.is_busy():
            self._timer.stop()

    def cleanup(self) -> None:
        """The application ends or the module is reloaded."""
        self._timer.stop()
        self._disconnect_parameter_node()
        self.removeObservers()
        self.logic.close()

    def on_scene_closing(self, *_args: object) -> None:
        """The scene is about to be emptied."""
        if self._wiring is not None:
            self._wiring.put_down()
        self._disconnect_parameter_node()
        self.logic.forget()

    def on_scene_ready(self, *_args: object) -> None:
        """The scene was emptied or loaded: take up what it holds; a managed server that runs goes on to be used."""
        if self._wiring is None:
            return
        core, server = self.logic.core(), self.logic.server
        self._wiring.put_down()
        if server.state == "running" and core.desk.client.token == server.token:
            core.desk.params.set_text("server", server.url)
        self._connect_parameter_node()
        core.restore()
        self.refresh()

    def on_install_server(self) -> None:
        """Install the managed server after the user agreed."""
        python = server_process.find_python()
        if python is None:
            slicer.util.errorDisplay(_("Expected a Python 3.11 or newer outside 3D Slicer, found none. Install one."))
            return
        question = _("Install the COLIPRI server in {folder}? It downloads packages of some gigabytes, torch included.")
        if slicer.util.confirmOkCancelDisplay(question.format(folder=self.logic.server.folder)):
            self.logic.server.install(python, package=requirements.source() + server_process.EXTRAS)
            self._timer.start()
            self.show_server()

    def on_start_server(self) -> None:
        """Start the managed server; the module connects to it once it answers."""
        model, store, scans = (read(getattr(self.ui, field), "text").strip() for field in LOCAL_FIELDS)
        for key, value in zip(LOCAL_FIELDS.values(), (model, store, scans), strict=True):
            slicer.app.userSettings().setValue(key, value)
        with slicer.util.tryWithErrorDisplay(_("The server could not be started.")):
            device, options = read(self.ui.deviceCombo, "currentText"), server_process.store_options(store, scans)
            self.logic.server.start(model or "tiny", device=device, options=options)
            self._timer.start()
        self.show_server()

    def on_stop_server(self) -> None:
        """Stop the managed server."""
        self.logic.server.stop()
        self.show_server()

    def on_remove_server(self) -> None:
        """Delete the managed server after the user agreed."""
        if slicer.util.confirmOkCancelDisplay(_("Delete the server and all it keeps?")):
            self.logic.server.remove()
            self.show_server()

    def show_server(self) -> None:
        """Show how the managed server is, and connect to it when it has just come up."""
        server = self.logic.server
        self.ui.serverLog.setPlainText(f"{server.state}\n{server.problem or server.tail()}")
        core = self.logic.core() if self._wiring is not None else None
        if core is not None and server.state == "running" and core.desk.client.token != server.token:
            core.desk.client.token = server.token
            core.desk.params.set_text("server", server.url)
            core.desk.connect()

    def place(self, node: Any, *, persistent: bool) -> None:
        """Let the user place points of a markups node; see `ColipriLib.wiring.Host`."""
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        if self._observed is not None:
            self.removeObserver(self._observed, slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent, self.on_point)
            self._observed = None
        if node is None:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
            return
        if persistent:
            self.addObserver(node, slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent, self.on_point)
            self._observed = node
        slicer.modules.markups.logic().StartPlaceMode(persistent)
        selection = slicer.app.applicationLogic().GetSelectionNode()
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())

    def on_point(self, node: Any, _event: object) -> None:
        """A point was placed: ask the model."""
        self._wiring.point_placed(node)

    def ask_path(self, title: str, name: str, files: str) -> Path | None:
        """Ask where to save a file; see `ColipriLib.wiring.Host`."""
        import qt

        chosen = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, files)
        return Path(chosen) if chosen else None

    def copy(self, text: str) -> None:
        """Put text on the clipboard."""
        slicer.app.clipboard().setText(text)

    def edit_segments(self) -> None:
        """Show the Segment Editor on the labels."""
        core = self.logic.core()
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.SegmentEditorWidget.editor
        editor.setSegmentationNode(core.labelling.node)
        editor.setSourceVolumeNode(core.desk.volume_node)

    def _connect_parameter_node(self) -> None:
        self._disconnect_parameter_node()
        self._parameter_node = self.logic.getParameterNode()
        self._gui_tag = self._parameter_node.connectGui(self.ui)
        self.addObserver(self._parameter_node.parameterNode, "ModifiedEvent", self.on_parameters)

    def _disconnect_parameter_node(self) -> None:
        if self._parameter_node is not None:
            self._parameter_node.disconnectGui(self._gui_tag)
            self.removeObserver(self._parameter_node.parameterNode, "ModifiedEvent", self.on_parameters)
            self._parameter_node = None

    def on_parameters(self, *_args: object) -> None:
        """Another volume or server was chosen."""
        core = self.logic.core()
        node = core.desk.volume_node
        chosen = node.GetID() if node is not None else None
        if chosen != self._volume_id:
            self._volume_id = chosen
            self._wiring.put_down()
            core.restore()
        self.refresh()


class ColipriLogic(ScriptedLoadableModuleLogic):
    """Makes the controllers, and holds the managed server; both live as long as the application."""

    _core: Any = None
    _server: server_process.ManagedServer | None = None

    def getParameterNode(self) -> ColipriParameterNode:
        """The module's parameters, kept with the scene."""
        return ColipriParameterNode(super().getParameterNode())

    def core(self) -> Any:
        """The controllers; the same for all scenes, widget and Segment Editor effect. Needs the client."""
        node = super().getParameterNode()
        if ColipriLogic._core is None:
            from ColipriLib.client import Client
            from ColipriLib.module_logic import ModuleLogic

            client = Client(edits_folder=settings_folder() / "edits")
            ColipriLogic._core = ModuleLogic(slicer.mrmlScene, node, client=client, load=load_volume)
        elif ColipriLogic._core.desk.params.node is not node:
            ColipriLogic._core.begin(node)
        return ColipriLogic._core

    @property
    def server(self) -> server_process.ManagedServer:
        """The managed server."""
        if ColipriLogic._server is None:
            environment = slicer.util.startupEnvironment()
            ColipriLogic._server = server_process.ManagedServer(settings_folder() / "server", environment=environment)
        return ColipriLogic._server

    def is_busy(self) -> bool:
        """Whether something is running, or the managed server is being installed or started."""
        core, server = ColipriLogic._core, ColipriLogic._server
        at_work = server is not None and server.state in ("installing", "starting")
        return at_work or (core is not None and core.desk.runner.busy)

    def forget(self) -> None:
        """Let go of what belongs to a scene that is closing."""
        if ColipriLogic._core is not None:
            ColipriLogic._core.forget()

    def close(self) -> None:
        """Let go of the controllers and end the managed server with all its processes."""
        core, ColipriLogic._core = ColipriLogic._core, None
        if core is not None:
            core.close()
        if ColipriLogic._server is not None:
            ColipriLogic._server.stop()


def settings_folder() -> Path:
    """Where the module keeps what belongs to no scene: the managed server, and edits until they are saved."""
    return Path(slicer.app.slicerUserSettingsFilePath).parent / "Colipri"


def load_volume(path: Path) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Load a scan into the scene; returns None if Slicer could not read it."""
    try:
        return slicer.util.loadVolume(os.fspath(path))
    except RuntimeError:
        logging.exception("The scan %s could not be loaded", path.name)
        return None


class ColipriTest(ScriptedLoadableModuleTest):
    """Runs the scenarios that the project's own tests run on slicer-core."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Run all scenarios; they need the client, and no server."""
        from ColipriLib.scenarios import SCENARIOS

        for name, scenario in SCENARIOS.items():
            self.setUp()
            self.delayDisplay(name)
            scenario(slicer.mrmlScene)
