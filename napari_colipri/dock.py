"""The dock widget: panels, the jobs they start, and the napari events they follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import napari.utils.notifications
from qtpy.QtCore import QEvent
from qtpy.QtCore import QObject
from qtpy.QtCore import QSize
from qtpy.QtCore import Qt
from qtpy.QtGui import QCloseEvent
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QApplication
from qtpy.QtWidgets import QMainWindow
from qtpy.QtWidgets import QVBoxLayout
from qtpy.QtWidgets import QWidget

from colipri_core.errors import ColipriError
from napari_colipri import navigation
from napari_colipri.activity import Activity
from napari_colipri.backend import Backend
from napari_colipri.backend import ModelChoice
from napari_colipri.backend import ModelInfo
from napari_colipri.jobs import Jobs
from napari_colipri.labelling import Labelling
from napari_colipri.panels.column import rule
from napari_colipri.panels.column import scrolled
from napari_colipri.panels.findings import FindingsPanel
from napari_colipri.panels.footer import Footer
from napari_colipri.panels.label import LabelPanel
from napari_colipri.panels.model import ModelPanel
from napari_colipri.panels.notice import NoticeBar
from napari_colipri.panels.project import ProjectPanel
from napari_colipri.panels.section import Section
from napari_colipri.project import ProjectDesk
from napari_colipri.readout import Readout
from napari_colipri.release import Release
from napari_colipri.release import ViewerEvents
from napari_colipri.report_view import ReportView
from napari_colipri.server_choice import ServerChoice
from napari_colipri.shipped import model_names
from napari_colipri.similar import SimilarCases
from napari_colipri.similar_view import SimilarView
from napari_colipri.source import is_candidate
from napari_colipri.source import layer_grid
from napari_colipri.structures_view import StructuresView
from napari_colipri.style import style_sheet
from napari_colipri.style import theme_colors
from napari_colipri.workflow import Workflow

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image

    from colipri_core.engine import Capabilities

WINDOW_KEYS = ("Alt-1", "Alt-2", "Alt-3")
PLANE_KEYS = ("Alt-A", "Alt-C", "Alt-S")
"""Keys of CT windows and planes, bound while the dock is there."""

_WIDTH = 380


class ColipriDock(QWidget):
    """COLIPRI in a napari viewer.

    Args:
        viewer: The viewer it belongs to; napari passes it.
        backend: Holds the model; None makes one that opens engines with `colipri_core.open_engine`.
    """

    def __init__(self, viewer: napari.viewer.Viewer, *, backend: Backend | None = None) -> None:
        super().__init__()
        self.setObjectName("ColipriDock")
        self.viewer = viewer
        self.jobs = Jobs()
        backend = backend or Backend()
        self.workflow = Workflow(viewer, self.jobs, backend)
        self.labelling = Labelling(viewer, self.workflow, self.jobs)
        self.similar = SimilarView(viewer, SimilarCases(self.workflow, self.jobs, backend), self._try)
        self.report = ReportView(self.workflow, self.jobs, self._try)
        self.readout = Readout(viewer)
        self.activity = Activity(self.jobs.cancel)
        self.model_panel = ModelPanel(
            models=model_names(),
            windows=dict(zip(navigation.WINDOWS, WINDOW_KEYS, strict=True)),
            planes=dict(zip(navigation.PLANES, PLANE_KEYS, strict=True)),
        )
        self.server_choice = ServerChoice(self.model_panel, self.jobs, backend, viewer)
        self.findings_panel = FindingsPanel()
        self.structures = StructuresView(self.workflow, self._try)
        self.structures_panel, self.structures_section = self.structures.panel, self.structures.section
        self.label_panel = LabelPanel(self.labelling)
        self.project_panel = ProjectPanel(ProjectDesk(self.workflow, self.jobs))
        self.warning_bar = NoticeBar("notice")
        self.error_bar = NoticeBar("error")
        self.footer = Footer()
        self._docked = False
        self._lay_out()
        self._connect_panels()
        self._connect_workflow()
        self._connect_viewer()
        self._on_theme()
        self._on_layers()
        self._on_plane()
        self._on_findings()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Wide enough for names, bars and numbers."""
        return QSize(_WIDTH, super().sizeHint().height())

    @property
    def closed(self) -> bool:
        """Whether the dock was shut down."""
        return self._release.done

    def shutdown(self) -> None:
        """Cancel work, free the model, and let go of the viewer; safe to call twice."""
        self._release()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's name
        """Closing the dock ends its work."""
        self.shutdown()
        super().closeEvent(event)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Watch the window that holds the dock: napari does not always close what is docked in it."""
        super().showEvent(event)
        if self.window() is not self:
            self.window().installEventFilter(self)

    def event(self, event: QEvent) -> bool:
        """Being taken out of its dock, which is how napari removes a widget, ends the work as well."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is None and self._docked:
                self.shutdown()
            self._docked = self.parent() is not None
        return super().event(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """The window closes: end the work."""
        if event.type() == QEvent.Type.Close and isinstance(watched, QMainWindow):
            self.shutdown()
        return False

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(8)
        self.findings_section = Section("Findings", self.findings_panel)
        self.label_section = Section("Label", self.label_panel)
        self.project_section = Section("Project", self.project_panel)
        for folded in (self.label_section, self.project_section):
            folded.header.setChecked(False)
        layout.addWidget(self.model_panel)
        layout.addWidget(self.error_bar)
        layout.addWidget(self.warning_bar)
        layout.addWidget(rule())
        layout.addWidget(
            scrolled(
                (self.findings_section, 3),
                (self.structures_section, 2),
                (self.label_section, 2),
                (self.report.section, 3),
                (self.similar.section, 2),
                (self.project_section, 1),
            ),
            1,
        )
        layout.addWidget(self.footer)

    def _connect_panels(self) -> None:
        model, findings = self.model_panel, self.findings_panel
        model.layer_chosen.connect(self.workflow.choose)
        model.choice_changed.connect(self._on_choice)
        model.clicks.changed.connect(self._on_clicks_model)
        self._on_choice(model.choice)
        model.analyse_clicked.connect(lambda: self._try(self.workflow.analyse))
        model.window_chosen.connect(self._on_window)
        model.plane_chosen.connect(lambda plane: navigation.show_plane(self.viewer, plane))
        model.progress.cancel_clicked.connect(self.jobs.cancel)
        findings.chosen.connect(self._on_finding)
        findings.asked.connect(lambda phrase: self._try(lambda: self.workflow.ask(phrase)))
        findings.hidden.connect(self.workflow.hide_evidence)

    def _connect_workflow(self) -> None:
        self.jobs.started.connect(self._on_started)
        self.jobs.progressed.connect(self.model_panel.progress.advance)
        self.jobs.progressed.connect(self.activity.advance)
        self.jobs.failed.connect(self._on_failed)
        self.jobs.idle.connect(self._on_idle)
        self.workflow.model_changed.connect(self._on_model)
        self.workflow.case_changed.connect(self._on_case)
        self.workflow.findings_changed.connect(self._on_findings)
        self.workflow.heat_changed.connect(self._on_heat)
        self.labelling.failed.connect(self._on_failed)
        self.workflow.noticed.connect(napari.utils.notifications.show_warning)
        self.labelling.noticed.connect(napari.utils.notifications.show_info)
        self.project_panel.failed.connect(self._on_failed)
        self.project_panel.desk.changed.connect(self.project_section.fit)
        self.labelling.changed.connect(self.label_section.fit)

    def _connect_viewer(self) -> None:
        events = self._viewer_events()
        for emitter, callback in events:
            emitter.connect(callback)
        for key, action in self._key_actions().items():
            self.viewer.bind_key(key, action, overwrite=True)
        closers = (
            self.labelling.close,
            self.readout.close,
            self.report.reporting.close,
            self.similar.close,
            self.workflow.close,
            self.activity.end,
            self.server_choice.close,
        )
        self._release = Release(self.viewer, events, closers, keys=(*WINDOW_KEYS, *PLANE_KEYS))
        self.destroyed.connect(self._release)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self._release)

    def _viewer_events(self) -> ViewerEvents:
        viewer = self.viewer
        return (
            (viewer.layers.events.inserted, self._on_layers),
            (viewer.layers.events.removed, self._on_layers),
            (viewer.layers.events.reordered, self._on_layers),
            (viewer.layers.events.renamed, self._on_layers),
            (viewer.events.theme, self._on_theme),
            (viewer.dims.events.order, self._on_plane),
            (viewer.dims.events.ndisplay, self._on_plane),
        )

    def _key_actions(self) -> dict[str, Callable[[object], None]]:
        actions: dict[str, Callable[[object], None]] = {}
        for key, window in zip(WINDOW_KEYS, navigation.WINDOWS, strict=True):
            actions[key] = lambda _viewer, window=window: self._on_window(window)
        for key, plane in zip(PLANE_KEYS, navigation.PLANES, strict=True):
            actions[key] = lambda _viewer, plane=plane: navigation.show_plane(self.viewer, plane)
        return actions  # functions, not partials: napari asks what is bound for its name at every key press

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except ColipriError as error:
            self._on_failed(error)

    def _on_choice(self, choice: ModelChoice) -> None:
        self.workflow.choice = choice
        self._offer(None)

    def _on_clicks_model(self, model: str) -> None:
        self.workflow.backend.clicks_model = model

    def _on_finding(self, name: str) -> None:
        modifiers = QApplication.keyboardModifiers()
        keep = bool(modifiers & (Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier))
        case = self.workflow.case
        if case is not None and name in case.shown:
            self.workflow.hide_evidence(name)
        else:
            self._try(lambda: self.workflow.show_evidence(name, keep_others=keep))

    def _on_window(self, window: str) -> None:
        if self.workflow.layer is not None:
            navigation.apply_window(self.workflow.layer, window)
            self.model_panel.windows.press(window)

    def _on_started(self, title: str) -> None:
        self.error_bar.show_texts(())
        self.model_panel.progress.begin(title)
        self.activity.begin(title)
        self._show_busy(busy=True)

    def _on_idle(self) -> None:
        self.activity.end()
        self.workflow.note_model()
        self.report.reporting.end()
        self._show_busy(busy=self.jobs.busy)

    def _show_busy(self, *, busy: bool) -> None:
        ready = self.workflow.layer is not None
        self.model_panel.set_busy(busy=busy, ready=ready)
        self.findings_panel.set_askable(askable=ready and not busy)
        self.structures_panel.outline.setEnabled(ready and not busy)
        self.similar.panel.set_ready(ready=ready, busy=busy)
        self.report.show_busy(ready=ready, busy=busy)
        self.project_panel.set_busy(busy=busy)

    def _on_failed(self, error: Exception) -> None:
        if not isinstance(error, ColipriError | ValueError | OSError):
            raise error
        self.error_bar.show_texts((str(error),))
        napari.utils.notifications.show_error(str(error))

    def _on_model(self, info: ModelInfo) -> None:
        self.footer.show_model(info)
        self._offer(info.capabilities)
        self.similar.panel.set_stores(info.stores)

    def _offer(self, capabilities: Capabilities | None) -> None:
        """Show what a model can do, everything while it is not known."""
        reads_words = capabilities is None or capabilities.free_text
        for section in (self.findings_section, self.report.section, self.similar.section):
            section.setVisible(reads_words)
        self.label_panel.phrase.setVisible(reads_words)
        self.structures_section.setVisible(capabilities is None or bool(capabilities.structures))

    def _on_case(self) -> None:
        case = self.workflow.case
        if self.model_panel.layers.currentData() != self.workflow.layer:
            self.model_panel.set_layers([one for one in self.viewer.layers if is_candidate(one)], self.workflow.layer)
        self.warning_bar.show_texts(case.warnings if case is not None else ())
        self.model_panel.set_layers(self._candidates(), self.workflow.layer)
        self._show_layer(self.workflow.layer)
        self.report.refresh()
        self._show_busy(busy=self.jobs.busy)

    def _on_findings(self) -> None:
        case = self.workflow.case
        rows = case.rows if case is not None else ()
        self.findings_panel.set_rows(rows)
        self.warning_bar.show_texts(case.warnings if case is not None else (), again=True)
        model = case.findings_model.name if case is not None and case.findings_model is not None else ""
        self.findings_section.summary.setText(f"{len(rows)} findings, {model}" if rows else "")
        self.findings_section.fit()

    def _on_heat(self) -> None:
        case = self.workflow.case
        for panel in (self.findings_panel, self.report.panel):
            panel.set_shown(case.shown if case is not None else frozenset())

    def _on_layers(self) -> None:
        candidates, current = self._candidates(), self.workflow.layer
        if current not in candidates:
            self.workflow.choose(candidates[0] if candidates else None)
        self._on_case()

    def _candidates(self) -> list[Image]:
        return [layer for layer in self.viewer.layers if is_candidate(layer)]

    def _show_layer(self, layer: Image | None) -> None:
        self.readout.follow(layer)
        if layer is None:
            self.model_panel.show_geometry(None)
            return
        geometry = layer_grid(layer).geometry
        size = " \u00d7 ".join(str(value) for value in geometry.shape)
        spacing = " \u00d7 ".join(f"{value:.3g}" for value in geometry.spacing)
        orientation = geometry.orientation if geometry.is_axis_aligned else f"oblique {geometry.orientation}"
        self.model_panel.show_geometry(f"{size},  {spacing} mm,  {orientation}")
        self.model_panel.windows.press(navigation.current_window(layer))

    def _on_plane(self) -> None:
        if self.viewer.dims.ndim >= 3:
            navigation.keep_head_up(self.viewer)
        self.model_panel.planes.press(navigation.current_plane(self.viewer))

    def _on_theme(self) -> None:
        colors = theme_colors(self.viewer.theme)
        self.setStyleSheet(style_sheet(colors))
        self.findings_panel.set_colors(colors)
        self.structures_panel.set_colors(colors)
        self.label_panel.set_colors(colors)
        self.project_panel.set_colors(colors)
        self.similar.panel.set_colors(colors)
        self.report.panel.set_colors(colors)
