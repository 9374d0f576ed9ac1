"""What clicks in the dock lead to: analyse, show evidence, outline, follow the layers. No Qt; panels listen to it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import TypeVar

from psygnal import Signal

from colipri_core.listing import finding_rows
from colipri_core.listing import merged
from napari_colipri import layers as result_layers
from napari_colipri import navigation
from napari_colipri.backend import Backend
from napari_colipri.backend import ModelChoice
from napari_colipri.backend import ModelInfo
from napari_colipri.case import Case
from napari_colipri.results import StructureRow
from napari_colipri.results import structure_rows
from napari_colipri.source import read_case
from napari_colipri.work import Job
from napari_colipri.work import Runner

if TYPE_CHECKING:
    import napari.components
    import numpy as np
    from napari.layers import Image

    from colipri_core.findings import EvidenceMap
    from colipri_core.findings import Findings
    from colipri_core.progress import CancelToken
    from colipri_core.progress import ProgressCallback
    from colipri_core.segmentation import Segmentation

Result = TypeVar("Result")
Ask = Callable[["Backend", "Case", "ProgressCallback", "CancelToken"], tuple[ModelInfo, Result]]

MAX_HEAT_LAYERS = 4
"""Heat maps kept per case, the shown one included; older hidden ones are removed, they are quickly made again."""


class Workflow:
    """Everything a click in the dock leads to, on one viewer.

    Layers are compared with `==`: what napari hands to plugins are proxies, and two proxies of a layer are two objects.

    Args:
        viewer: The viewer.
        runner: Runs long work.
        backend: Holds the model; used on the runner's worker only.
    """

    model_changed = Signal(object)
    case_changed = Signal()
    findings_changed = Signal()
    heat_changed = Signal()
    structures_changed = Signal()
    analysed = Signal()

    def __init__(self, viewer: napari.components.ViewerModel, runner: Runner, backend: Backend | None = None) -> None:
        self.viewer = viewer
        self.choice = ModelChoice()
        self.info: ModelInfo | None = None
        self._runner = runner
        self._backend = backend or Backend()
        self._layer: Image | None = None
        self._cases: dict[Image, Case] = {}
        viewer.layers.events.removed.connect(self._on_layer_removed)

    @property
    def backend(self) -> Backend:
        """Holds the model; to be used on the runner's worker only."""
        return self._backend

    @property
    def layer(self) -> Image | None:
        """The chosen CT layer."""
        return self._layer

    @property
    def case(self) -> Case | None:
        """Results of the chosen layer, None before any were asked for."""
        return self._cases.get(self._layer) if self._layer is not None else None

    def choose(self, layer: Image | None) -> None:
        """Make a layer the current CT; results it already has are shown again.

        Args:
            layer: The CT layer, or None.
        """
        if layer == self._layer:
            return
        self._layer = layer
        self._changed_everything()

    def analyse(self) -> bool:
        """Load the chosen model if needed, ask for its findings if it has any, then outline structures if it can.

        Returns:
            False if nothing was started: no CT layer is chosen, or other work is running.

        Raises:
            UnsupportedVolumeError: If the layer cannot be taken as a CT.
        """
        if self._layer is None:
            return False
        case = Case(layer=self._layer, choice=self.choice, source=read_case(self._layer))

        def work(progress: ProgressCallback, cancel: CancelToken) -> tuple[ModelInfo, Findings | None]:
            return self._backend.analyse(case.request, progress, cancel)

        def done(result: tuple[ModelInfo, Findings | None]) -> None:
            self._take_findings(case, *result)

        return self._runner.start(Job(title="Analysing", work=work, on_done=done))

    def ask(self, text: str) -> bool:
        """Ask for any phrase: adds its row and shows its evidence.

        Args:
            text: The phrase.

        Returns:
            False if nothing was started: empty phrase, no CT, or other work is running.
        """
        phrase = " ".join(text.split())
        case = self._case_to_use()
        if not phrase or case is None:
            return False

        def work(progress: ProgressCallback, cancel: CancelToken) -> tuple[ModelInfo, Findings]:
            return self._backend.classify(case.request, (phrase,), progress, cancel)

        def done(result: tuple[ModelInfo, Findings]) -> None:
            info, findings = result
            self.set_model(info)
            case.rows = merged(case.rows, finding_rows(findings, asked=True))
            self._store(case, findings.provenance.warnings)
            self.findings_changed.emit()
            self.show_evidence(phrase)

        return self._runner.start(Job(title=f'Asking for "{phrase}"', work=work, on_done=done))

    def show_evidence(self, text: str, *, keep_others: bool = False) -> bool:
        """Show where the model sees a finding, and go to its peak.

        Args:
            text: A finding or phrase.
            keep_others: Leave other heat maps visible.

        Returns:
            False if nothing was started: no CT, or work is running that cannot be replaced.
        """
        case = self._case_to_use()
        if case is None:
            return False

        def work(
            progress: ProgressCallback, cancel: CancelToken
        ) -> tuple[EvidenceMap, tuple[np.ndarray, tuple[float, float]]]:
            evidence = self._backend.evidence(case.request, text, progress, cancel)
            return evidence, result_layers.prepare_heat(evidence, case.source)

        def done(result: tuple[EvidenceMap, tuple[np.ndarray, tuple[float, float]]]) -> None:
            self._take_evidence(case, *result, keep_others=keep_others)

        return self._runner.start(Job(title=f"Evidence for {text}", work=work, on_done=done, replaceable=True))

    def run(self, title: str, ask: Ask[Result], take: Callable[[Case, Result], tuple[str, ...]]) -> bool:
        """Run a question about the current case, for the controllers of other panels.

        Args:
            title: What is being done.
            ask: Asks the backend, on the worker.
            take: Receives case and result on the GUI thread, if the layer is still there; returns warnings to show.

        Returns:
            False if nothing was started: no CT, or other work is running.
        """
        case = self._case_to_use()
        if case is None:
            return False

        def done(answer: tuple[ModelInfo, Result]) -> None:
            self.set_model(answer[0])
            if case.layer in self.viewer.layers:
                self._store(case, take(case, answer[1]))

        return self._runner.start(Job(title=title, work=functools.partial(ask, self._backend, case), on_done=done))

    def hide_evidence(self, text: str | None = None) -> None:
        """Hide the heat map of a phrase, or all of them.

        Args:
            text: The phrase, None for all.
        """
        if self.case is not None:
            for phrase, layer in self.case.heat.items():
                if text is None or phrase == text:
                    layer.visible = False

    def outline(self) -> bool:
        """Outline the structures the model knows.

        Returns:
            False if nothing was started: no CT, or other work is running.
        """
        case = self._case_to_use()
        return case is not None and self._start_outline(case)

    def set_structure_shown(self, label: int, *, shown: bool) -> None:
        """Show or hide one structure.

        Args:
            label: Its value in the labelmap.
            shown: Whether to show it.
        """
        case = self.case
        if case is not None and case.labels is not None:
            from napari.utils.colormaps import DirectLabelColormap

            case.hidden = case.hidden - {label} if shown else case.hidden | {label}
            colors = result_layers.structure_colors(case.structures, case.hidden)
            case.labels.colormap = DirectLabelColormap(color_dict=colors)
            self.structures_changed.emit()

    def go_to_structure(self, row: StructureRow) -> None:
        """Slice through the midst of a structure and make it visible.

        Args:
            row: The structure.
        """
        case = self.case
        if case is not None and row.center is not None:
            if row.label in case.hidden:
                self.set_structure_shown(row.label, shown=True)
            navigation.go_to(self.viewer, case.layer, row.center)

    def case_to_edit(self) -> Case | None:
        """The case of the chosen layer, begun if there is none yet; None without a layer.

        Raises:
            UnsupportedVolumeError: If the layer cannot be taken as a CT.
        """
        case = self._case_to_use()
        if case is not None:
            self._cases.setdefault(case.layer, case)
        return case

    def set_model(self, info: ModelInfo) -> None:
        """Take note of the model that answered.

        Args:
            info: The model.
        """
        self.info = info
        self.model_changed.emit(info)

    def close(self) -> None:
        """Cancel what runs, free volume and model, and let go of the viewer."""
        self.viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self._runner.close(self._backend.close)
        self._cases.clear()
        self._layer = None

    def _case_to_use(self) -> Case | None:
        if self._layer is None:
            return None
        return self.case or Case(layer=self._layer, choice=self.choice, source=read_case(self._layer))

    def _start_outline(self, case: Case) -> bool:
        def work(
            progress: ProgressCallback, cancel: CancelToken
        ) -> tuple[ModelInfo, Segmentation, tuple[StructureRow, ...], np.ndarray]:
            info, segmentation = self._backend.segment(case.request, progress, cancel)
            rows = structure_rows(segmentation, case.source.grid)
            return info, segmentation, rows, result_layers.labelmap_for_layer(segmentation, case.source)

        def done(result: tuple[ModelInfo, Segmentation, tuple[StructureRow, ...], np.ndarray]) -> None:
            self._take_structures(case, *result)

        return self._runner.start(Job(title="Outlining structures", work=work, on_done=done))

    def _take_findings(self, case: Case, info: ModelInfo, findings: Findings | None) -> None:
        self.set_model(info)
        if case.layer not in self.viewer.layers:
            return
        former = self._cases.get(case.layer)
        if former is not None:
            self._remove_heat(former)
            case.structures, case.hidden, case.labels = former.structures, former.hidden, former.labels
        case.rows = () if findings is None else merged((), finding_rows(findings))
        self._store(case, () if findings is None else findings.provenance.warnings)
        self._changed_everything()
        self.analysed.emit()
        if info.capabilities.structures:
            self._start_outline(case)

    def _take_evidence(
        self,
        case: Case,
        evidence: EvidenceMap,
        heat: tuple[np.ndarray, tuple[float, float]],
        *,
        keep_others: bool,
    ) -> None:
        if case.layer not in self.viewer.layers:
            return
        self._store(case, evidence.provenance.warnings)
        if not keep_others:
            for layer in case.heat.values():
                layer.visible = False
        active = self.viewer.layers.selection.active
        former = case.heat.pop(evidence.text, None)
        layer = result_layers.show_heat(self.viewer, case.layer, evidence.text, heat, former)
        self.viewer.layers.selection.active = active
        if former is None:
            layer.events.visible.connect(self._on_heat_visible)
        case.heat[evidence.text] = layer
        self._drop_old_heat(case)
        navigation.go_to(self.viewer, case.layer, case.source.grid.ras_to_layer(evidence.peak_ras))
        self.heat_changed.emit()

    def _take_structures(
        self,
        case: Case,
        info: ModelInfo,
        segmentation: Segmentation,
        rows: tuple[StructureRow, ...],
        labelmap: np.ndarray,
    ) -> None:
        self.set_model(info)
        if case.layer not in self.viewer.layers:
            return
        case.structures, case.hidden = rows, result_layers.hidden_at_first(rows)
        active = self.viewer.layers.selection.active
        case.labels = result_layers.show_structures(self.viewer, case.layer, labelmap, rows, case.labels)
        self.viewer.layers.selection.active = active
        self._store(case, segmentation.provenance.warnings if segmentation.provenance else ())
        self.structures_changed.emit()

    def _store(self, case: Case, warnings: tuple[str, ...]) -> None:
        self._cases[case.layer] = case
        case.warnings = tuple(dict.fromkeys((*case.warnings, *warnings, *case.source.notes)))
        if case.layer == self._layer:
            self.case_changed.emit()

    def _drop_old_heat(self, case: Case) -> None:
        hidden = [text for text, layer in case.heat.items() if not layer.visible]
        for text in hidden[: max(0, len(case.heat) - MAX_HEAT_LAYERS)]:
            self.viewer.layers.remove(case.heat[text])

    def _remove_heat(self, case: Case) -> None:
        for layer in list(case.heat.values()):
            self.viewer.layers.remove(layer)

    def _on_heat_visible(self) -> None:
        self.heat_changed.emit()

    def _on_layer_removed(self, event: object) -> None:
        removed = event.value  # type: ignore[attr-defined]
        if self._cases.pop(removed, None) is not None or removed == self._layer:
            self._runner.cancel()
            self._runner.in_order(self._backend.close_volume)
        if removed == self._layer:
            self.choose(None)
        for case in self._cases.values():
            self._forget_result(case, removed)

    def _forget_result(self, case: Case, removed: object) -> None:
        for text, layer in list(case.heat.items()):
            if layer == removed:
                layer.events.visible.disconnect(self._on_heat_visible)
                del case.heat[text]
                self.heat_changed.emit()
        if case.labels == removed:
            case.labels, case.structures = None, ()
            self.structures_changed.emit()

    def _changed_everything(self) -> None:
        self.case_changed.emit()
        self.findings_changed.emit()
        self.heat_changed.emit()
        self.structures_changed.emit()
