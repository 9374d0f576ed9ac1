"""Connects the widgets of Colipri.ui with the controllers; what only the application can do is asked of its `Host`.

Signals and calls are those that PythonQt in Slicer and PySide6 in the tests have alike; `read` hides where they differ.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol

from ColipriLib.panels import TOOL_BUTTONS
from ColipriLib.presenter import View
from ColipriLib.reading import read

if TYPE_CHECKING:
    from ColipriLib.module_logic import ModuleLogic

LABEL_FILES = "NIfTI (*.nii.gz);;NRRD labelmap (*.nrrd);;MetaImage (*.mha)"
REPORT_FILES = "Web page (*.html);;Markdown (*.md);;Text (*.txt);;JSON (*.json)"


class Host(Protocol):
    """What is asked of the application."""

    def place(self, node: Any, *, persistent: bool) -> None:
        """Let the user place points of a markups node with the mouse; None ends it."""
        ...

    def ask_path(self, title: str, name: str, files: str) -> Path | None:
        """Ask where to save a file; None if the user changed their mind."""
        ...

    def copy(self, text: str) -> None:
        """Put text on the clipboard."""
        ...

    def edit_segments(self) -> None:
        """Show the Segment Editor on the labels."""
        ...


class Wiring:
    """What the widgets lead to.

    Args:
        ui: Has the widgets of Colipri.ui as attributes.
        logic: The controllers.
        host: The application.
    """

    def __init__(self, ui: Any, logic: ModuleLogic, host: Host) -> None:
        self._ui = ui
        self._logic = logic
        self._host = host
        self._reading = False
        self._connect_model()
        self._connect_results()
        self._connect_label()
        self._connect_report()
        self._connect_similar()

    def update(self, show: Callable[[View], None]) -> None:
        """Show the present state, without taking what widgets then say for the user's words.

        Args:
            show: Shows a view.
        """
        self._reading = True
        try:
            show(self._logic.view())
        finally:
            self._reading = False

    def point_placed(self, node: Any) -> None:
        """Ask about a point that was placed.

        Args:
            node: The fiducials.
        """
        self._guarded(lambda: self._logic.labelling.prompt_placed(node))()

    def put_down(self) -> None:
        """Put down the tool in hand: another CT was chosen, or another scene is there."""
        if self._logic.desk.params.text("tool"):
            self._logic.desk.params.set_text("tool", "")
            self._host.place(None, persistent=False)

    def _connect_model(self) -> None:
        ui, desk = self._ui, self._logic.desk
        ui.connectButton.clicked.connect(self._guarded(self._connect))
        ui.serverEdit.returnPressed.connect(self._guarded(self._connect))
        ui.analyseButton.clicked.connect(self._guarded(self._logic.analysis.analyse))
        ui.cancelButton.clicked.connect(self._guarded(desk.runner.cancel))

    def _connect_results(self) -> None:
        ui, analysis = self._ui, self._logic.analysis
        ui.findingsTable.cellClicked.connect(self._on_finding)
        ui.askButton.clicked.connect(self._guarded(self._ask))
        ui.phraseEdit.returnPressed.connect(self._guarded(self._ask))
        ui.hideHeatButton.clicked.connect(self._guarded(analysis.hide_evidence))
        ui.outlineButton.clicked.connect(self._guarded(analysis.outline))
        ui.structuresTable.cellClicked.connect(self._on_structure)
        ui.structuresTable.cellDoubleClicked.connect(self._on_structure_opened)

    def _connect_label(self) -> None:
        ui, labelling = self._ui, self._logic.labelling
        for tool, name in TOOL_BUTTONS.items():
            getattr(ui, name).clicked.connect(self._guarded(lambda tool=tool: self._take_tool(tool)))
        ui.applyButton.clicked.connect(self._guarded(self._apply))
        ui.positiveButton.clicked.connect(self._guarded(self._turn_sign))
        ui.keepCheck.toggled.connect(self._on_keep)
        ui.labelPhrase.returnPressed.connect(self._guarded(lambda: labelling.ask_phrase(read(ui.labelPhrase, "text"))))
        for name in ("undo", "redo"):
            getattr(ui, f"{name}Button").clicked.connect(self._guarded(getattr(labelling, name)))
        ui.newObjectButton.clicked.connect(self._guarded(labelling.add_object))
        ui.resetButton.clicked.connect(self._guarded(labelling.reset_object))
        ui.removeButton.clicked.connect(self._guarded(labelling.remove_object))
        ui.adoptButton.clicked.connect(self._guarded(labelling.adopt_structures))
        ui.editorButton.clicked.connect(self._guarded(self._host.edit_segments))
        ui.saveLabelsButton.clicked.connect(self._guarded(self._save_labels))
        ui.objectsTable.cellClicked.connect(self._on_object)
        ui.objectName.editingFinished.connect(self._guarded(self._rename))
        ui.objectCode.editingFinished.connect(self._guarded(self._recode))
        ui.lockCheck.toggled.connect(lambda on: self._change(locked=bool(on)))
        ui.doneCheck.toggled.connect(lambda on: self._change(done=bool(on)))

    def _connect_report(self) -> None:
        ui, reporting = self._ui, self._logic.reporting
        ui.draftButton.clicked.connect(self._guarded(reporting.draft))
        ui.copyButton.clicked.connect(self._guarded(lambda: self._host.copy(reporting.plain_text())))
        ui.exportReportButton.clicked.connect(self._guarded(self._export_report))
        ui.reportTable.cellClicked.connect(self._on_sentence)
        ui.reportTable.cellChanged.connect(self._on_sentence_changed)
        ui.sentenceEdit.returnPressed.connect(self._guarded(self._add_sentence))

    def _connect_similar(self) -> None:
        ui, similar = self._ui, self._logic.similar
        ui.similarButton.clicked.connect(self._guarded(lambda: self._search(similar.find)))
        ui.regionButton.clicked.connect(self._guarded(lambda: self._search(lambda: similar.find(by_object=True))))
        for signal in (ui.searchButton.clicked, ui.searchEdit.returnPressed):
            signal.connect(self._guarded(lambda: self._search(lambda: similar.search(read(ui.searchEdit, "text")))))
        ui.matchesTable.cellClicked.connect(self._on_match)
        ui.openMatchButton.clicked.connect(self._guarded(self._open_match))

    def _guarded(self, action: Callable[[], object]) -> Callable[..., None]:
        """Run an action for a signal; what goes wrong is shown where people look."""

        def run(*_: object) -> None:
            if self._reading:
                return
            try:
                action()
            except Exception as error:
                self._logic.desk.fail(error)

        return run

    def _connect(self) -> None:
        self._logic.desk.params.set_text("server", read(self._ui.serverEdit, "text"))
        self._logic.desk.client.token = read(self._ui.tokenEdit, "text")
        self._logic.desk.connect()

    def _ask(self) -> None:
        self._logic.analysis.ask(read(self._ui.phraseEdit, "text"))

    def _on_finding(self, row: int, _column: int) -> None:
        name = read(self._ui.findingsTable.item(row, 1), "text")
        self._guarded(lambda: self._logic.analysis.toggle_evidence(name))()

    def _on_structure(self, row: int, column: int) -> None:
        view = self._logic.view().structures
        if column == 0 and row < len(view.rows):
            label = view.rows[row].label
            self._guarded(lambda: self._logic.analysis.set_structure_shown(label, shown=label not in view.shown))()

    def _on_structure_opened(self, row: int, _column: int) -> None:
        rows = self._logic.view().structures.rows
        if row < len(rows):
            self._guarded(lambda: self._logic.analysis.go_to_structure(rows[row].label))()

    def _take_tool(self, tool: str) -> None:
        params, labelling = self._logic.desk.params, self._logic.labelling
        chosen = "" if params.text("tool") == tool else tool
        try:
            node = labelling.markup(chosen, positive=params.positive) if chosen else None
        except Exception:
            getattr(self._ui, TOOL_BUTTONS[tool]).setChecked(False)
            raise
        params.set_text("tool", chosen)
        self._host.place(node, persistent=chosen == "point")
        self._logic.desk.changed()

    def _turn_sign(self) -> None:
        params = self._logic.desk.params
        params.set_text("positive", "false" if params.positive else "true")
        tool = params.text("tool")
        if tool:
            params.set_text("tool", "")
            self._take_tool(tool)
        self._logic.desk.changed()

    def _apply(self) -> None:
        params = self._logic.desk.params
        node = params.node_of("drawing")
        if node is not None and self._logic.labelling.prompt_from(node, positive=params.positive):
            params.set_text("tool", "")
            self._host.place(None, persistent=False)

    def _on_keep(self, on: bool) -> None:
        if not self._reading:
            self._logic.desk.params.set_text("policy", "keep" if on else "replace")

    def _on_object(self, row: int, _column: int) -> None:
        objects = self._logic.view().label.objects
        if row < len(objects):
            self._guarded(lambda: self._logic.labelling.choose_object(objects[row].label))()

    def _rename(self) -> None:
        self._change_if_new("name", read(self._ui.objectName, "text"))

    def _recode(self) -> None:
        self._change_if_new("code", read(self._ui.objectCode, "text"))

    def _change_if_new(self, field: str, text: str) -> None:
        view = self._logic.view().label
        current = next((item for item in view.objects if item.label == view.current), None)
        if current is None or getattr(current, field) == text.strip():
            return
        if field == "name":
            self._logic.labelling.rename_object(text)
        else:
            self._logic.labelling.change_object(code=text.strip())

    def _change(self, **changes: object) -> None:
        self._guarded(lambda: self._logic.labelling.change_object(**changes))()

    def _save_labels(self) -> None:
        path = self._host.ask_path("Save labels", "labels.nii.gz", LABEL_FILES)
        if path is not None:
            self._logic.labelling.export(path)

    def _export_report(self) -> None:
        path = self._host.ask_path("Export the draft", "draft.html", REPORT_FILES)
        if path is not None:
            self._logic.reporting.export(path)

    def _on_sentence(self, row: int, _column: int) -> None:
        rows = self._logic.reporting.rows
        if row < len(rows):
            self._guarded(lambda: self._logic.reporting.choose(rows[row]))()

    def _on_sentence_changed(self, row: int, column: int) -> None:
        rows = self._logic.reporting.rows
        if self._reading or column != 0 or row >= len(rows) or rows[row].position is None:
            return
        text, position = read(self._ui.reportTable.item(row, 0), "text"), rows[row].position
        self._guarded(lambda: self._logic.reporting.edit(position, text))()

    def _add_sentence(self) -> None:
        self._logic.reporting.add(read(self._ui.sentenceEdit, "text"))
        self._ui.sentenceEdit.clear()

    def _search(self, search: Callable[[], object]) -> None:
        self._logic.desk.params.set_text("store", read(self._ui.storeCombo, "currentText").strip())
        search()

    def _on_match(self, row: int, _column: int) -> None:
        rows = self._logic.similar.rows
        if row < len(rows):
            self._ui.matchReport.setPlainText(rows[row].match.report or "No report is stored.")

    def _open_match(self) -> None:
        rows, row = self._logic.similar.rows, read(self._ui.matchesTable, "currentRow")
        if 0 <= row < len(rows):
            self._logic.similar.open(rows[row])
