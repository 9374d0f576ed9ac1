"""What clicks in the dock lead to: analyse, show evidence, outline, follow the layers. No Qt; panels listen to it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from collections.abc import Iterator
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
from napari_colipri.backend import Request
from napari_colipri.case import Case
from napari_colipri.cases import Cases
from napari_colipri.results import StructureRow
from napari_colipri.results import structure_rows
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
Answer = tuple[ModelInfo, Result]
"""The model that answered, and what."""

Ask = Callable[["Request", "ProgressCallback", "CancelToken"], Answer[Result]]
Take = Callable[["Case", ModelInfo, Result], None]
_Evidence = tuple["EvidenceMap", "np.ndarray", tuple[float, float]]
_Outlined = tuple["Segmentation", tuple[StructureRow, ...], "np.ndarray"]

CHANGED = (
    "lies elsewhere now, or has other voxels. Its findings, maps, structures and labels were closed: they belong to "
    "the scan as it was. Labels stay saved, and open again once the scan is as it was."
)
"""Said of a CT layer that was changed after something was computed for it."""

MAX_HEAT_LAYERS = 4
"""Heat maps kept per case, the shown one included; older hidden ones are removed, they are quickly made again."""


class Workflow:
    """Everything a click in the dock leads to, on one viewer.

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
    analysed = Signal(object)
    noticed = Signal(str)

    def __init__(self, viewer: napari.components.ViewerModel, runner: Runner, backend: Backend | None = None) -> None:
        self.viewer = viewer
        self.choice = ModelChoice()
        self.info: ModelInfo | None = None
        self._runner = runner
        self._backend = backend or Backend()
        self._layer: Image | None = None
        self._cases = Cases(viewer, lambda: self.choice)
        self._cases.dropped.connect(self._on_dropped)
        self._cases.changed.connect(self._on_changed)
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
        """What is known of the chosen layer, None before anything was asked about it."""
        return self._cases.of(self._layer)

    def choose(self, layer: Image | None) -> None:
        """Make a layer the current CT; results it already has are shown again.

        Args:
            layer: The CT layer, or None.
        """
        if layer == self._layer:
            return
        self._layer = layer
        if layer is not None:
            self._cases.watch(layer)
        self._changed_everything()

    def analyse(self) -> bool:
        """Load the chosen model if needed, ask for its findings if it has any, then outline structures if it can.

        Returns:
            False if nothing was started: no CT layer is chosen, or other work is running.

        Raises:
            UnsupportedVolumeError: If the layer cannot be taken as a CT.
        """
        case = self.case_to_edit()
        if case is None:
            return False
        return self._start("Analysing", case, self._backend.analyse, self._take_findings)

    def ask(self, text: str) -> bool:
        """Ask for any phrase: adds its row and shows its evidence.

        Args:
            text: The phrase.

        Returns:
            False if nothing was started: empty phrase, no CT, or other work is running.
        """
        phrase = " ".join(text.split())
        case = self.case_to_edit() if phrase else None
        if case is None:
            return False

        def ask(request: Request, progress: ProgressCallback, cancel: CancelToken) -> Answer[Findings]:
            return self._backend.classify(request, (phrase,), progress, cancel)

        def take(case: Case, info: ModelInfo, findings: Findings) -> None:
            known = case.rows if case.findings_model == info.card else ()  # two models' numbers do not compare
            case.rows, case.findings_model = merged(known, finding_rows(findings, asked=True)), info.card
            self._warn(case, findings.provenance.warnings)
            self.findings_changed.emit()
            self._start_evidence(case, phrase)

        return self._start(f'Asking for "{phrase}"', case, ask, take)

    def show_evidence(self, text: str, *, keep_others: bool = False) -> bool:
        """Show where the model sees a finding, and go to its peak.

        Args:
            text: A finding or phrase.
            keep_others: Leave other heat maps visible.

        Returns:
            False if nothing was started: no CT, or work is running that cannot be replaced.
        """
        case = self.case_to_edit()
        return case is not None and self._start_evidence(case, text, keep_others=keep_others)

    def run(
        self,
        title: str,
        ask: Callable[[Backend, Request, ProgressCallback, CancelToken], Answer[Result]],
        take: Callable[[Case, Result], tuple[str, ...]],
        *,
        layer: Image | None = None,
    ) -> bool:
        """Run a question about a case, for the controllers of other panels.

        Args:
            title: What is being done.
            ask: Asks the backend, on the worker.
            take: Receives case and result on the GUI thread, if the layer is still there; returns warnings to show.
            layer: The CT layer, None for the chosen one.

        Returns:
            False if nothing was started: no CT, or other work is running.
        """
        case = self._cases.open(layer) if layer is not None else self.case_to_edit()
        if case is None:
            return False

        def take_and_warn(case: Case, _info: ModelInfo, result: Result) -> None:
            self._warn(case, take(case, result))

        return self._start(title, case, functools.partial(ask, self._backend), take_and_warn)

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
        case = self.case_to_edit()
        return case is not None and self._start_outline(case)

    def case_to_edit(self) -> Case | None:
        """The case of the chosen layer, begun if there is none yet; None without a layer.

        Raises:
            UnsupportedVolumeError: If the layer cannot be taken as a CT.
        """
        return self._cases.open(self._layer) if self._layer is not None else None

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
        self._cases.close()
        self._runner.close(self._backend.close)
        self._layer = None

    def note_model(self) -> None:
        """Take note of the model that is loaded, if it is another one: labelling asks it by itself."""
        info = self._backend.info
        if info is not None and info != self.info:
            self.set_model(info)

    def _start(
        self, title: str, case: Case, ask: Ask[Result], take: Take[Result], *, replaceable: bool = False
    ) -> bool:
        """Ask the chosen model about a case; what comes for a case that was dropped meanwhile is not taken."""
        request = case.question

        def work(progress: ProgressCallback, cancel: CancelToken) -> Answer[Result]:
            return ask(request, progress, cancel)

        def done(answer: Answer[Result]) -> None:
            self.set_model(answer[0])
            if self._cases.holds(case):
                take(case, *answer)

        return self._runner.start(Job(title=title, work=work, on_done=done, replaceable=replaceable))

    def _start_evidence(self, case: Case, text: str, *, keep_others: bool = False) -> bool:
        def ask(request: Request, progress: ProgressCallback, cancel: CancelToken) -> Answer[_Evidence]:
            info, evidence = self._backend.evidence(request, text, progress, cancel)
            return info, (evidence, *result_layers.prepare_heat(evidence, case.source))

        take = functools.partial(self._take_evidence, keep_others=keep_others)
        return self._start(f"Evidence for {text}", case, ask, take, replaceable=True)

    def _start_outline(self, case: Case) -> bool:
        def ask(request: Request, progress: ProgressCallback, cancel: CancelToken) -> Answer[_Outlined]:
            info, segmentation = self._backend.segment(request, progress, cancel)
            rows = structure_rows(segmentation, case.source.grid)
            return info, (segmentation, rows, result_layers.labelmap_for_layer(segmentation, case.source))

        return self._start("Outlining structures", case, ask, self._take_structures)

    def _take_findings(self, case: Case, info: ModelInfo, findings: Findings | None) -> None:
        self._remove_heat(case)
        case.rows = () if findings is None else merged((), finding_rows(findings))
        case.findings_model, case.warnings = info.card, ()
        self._warn(case, () if findings is None else findings.provenance.warnings)
        if case.layer == self._layer:
            self._changed_everything()
        self.analysed.emit(case.layer)
        if info.capabilities.structures:
            self._start_outline(case)

    def _take_evidence(self, case: Case, info: ModelInfo, result: _Evidence, *, keep_others: bool) -> None:
        evidence, *heat = result
        self._warn(case, evidence.provenance.warnings)
        if case.heat_model != info.card:
            self._remove_heat(case)
        case.heat_model = info.card
        if not keep_others:
            for layer in case.heat.values():
                layer.visible = False
        former = case.heat.pop(evidence.text, None)
        with self._same_selection():
            layer = result_layers.show_heat(self.viewer, case.layer, evidence.text, (heat[0], heat[1]), former)
        layer.visible = in_sight = case.layer == self._layer
        if former is None:
            layer.events.visible.connect(self._on_heat_visible)
        case.heat[evidence.text] = layer
        self._drop_old_heat(case)
        if in_sight:
            navigation.go_to(self.viewer, case.layer, case.source.grid.ras_to_layer(evidence.peak_ras))
        self.heat_changed.emit()

    def _take_structures(self, case: Case, info: ModelInfo, outlined: _Outlined) -> None:
        segmentation, rows, labelmap = outlined
        case.structures, case.hidden = rows, result_layers.hidden_at_first(rows)
        case.structures_model = info.card
        with self._same_selection():
            case.labels = result_layers.show_structures(self.viewer, case.layer, labelmap, rows, case.labels)
        self._warn(case, segmentation.provenance.warnings if segmentation.provenance else ())
        self.structures_changed.emit()

    @contextlib.contextmanager
    def _same_selection(self) -> Iterator[None]:
        """Layers that are added do not become the active one."""
        active = self.viewer.layers.selection.active
        yield
        self.viewer.layers.selection.active = active

    def _warn(self, case: Case, warnings: tuple[str, ...]) -> None:
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
        if removed == self._layer:
            self.choose(None)
        for case in self._cases:
            self._forget_result(case, removed)

    def _on_dropped(self, case: Case) -> None:
        """Nobody is to ask about the volume any more; what lies on a grid that is no longer the CT's is closed."""
        volume = case.source.volume
        self._backend.abandon(volume)
        self._runner.in_order(lambda: self._backend.close_volume(volume))
        if case.layer not in self.viewer.layers:
            return
        on_it = result_layers.layers_on(self.viewer, case.layer)
        for layer in on_it:
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
        if on_it or case.rows:
            self.noticed.emit(f'"{case.layer.name}" {CHANGED}')

    def _on_changed(self, layer: Image) -> None:
        if layer == self._layer:
            self._changed_everything()

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
