"""What the panels Model, Findings and Structures lead to: analyse, ask for a phrase, heat maps, outlines, places."""

from __future__ import annotations

import slicer

from colipri_core.findings import EvidenceMap
from colipri_core.findings import Findings
from colipri_core.io.checks import check_volume
from colipri_core.listing import HIDDEN_AT_FIRST
from colipri_core.listing import finding_rows
from colipri_core.listing import merged
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.segmentation import Segmentation
from colipri_core.session import Session
from ColipriLib.case import Case
from ColipriLib.desk import Desk
from ColipriLib.rows import StructureRow
from ColipriLib.rows import structure_rows
from ColipriLib.scene import heat
from ColipriLib.scene import places
from ColipriLib.scene import segments

MAX_HEAT_MAPS = 4
"""Heat maps kept for each CT, the shown one included; older ones are removed, they are quickly made again."""

_Analysed = tuple[Findings | None, tuple[str, ...]]
_Outlines = tuple[Segmentation, tuple[StructureRow, ...]]


class Analysis:
    """Findings, evidence and structures of the chosen CT.

    Args:
        desk: Scene, connection and worker.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def analyse(self) -> bool:
        """Ask for the model's findings, then outline structures; what it cannot do is left out.

        Returns:
            False if nothing was started.
        """

        def ask(session: Session, progress: ProgressCallback, cancel: CancelToken) -> _Analysed:
            info = self._desk.client.info
            named = info is not None and info.capabilities.findings
            findings = session.classify(progress=progress, cancel=cancel) if named else None
            return findings, check_volume(session.volume)

        def take(case: Case, answer: _Analysed) -> None:
            findings, doubts = answer
            case.findings = merged((), finding_rows(findings)) if findings is not None else ()
            case.warn((*(findings.provenance.warnings if findings is not None else ()), *doubts))
            if case is self._desk.case:  # the slice views stay with a CT that was chosen meanwhile
                places.show_volume(self._desk.scene, case.node)
            info = self._desk.client.info
            if info is not None and info.capabilities.structures:
                self.outline(case)

        return self._desk.run("Analysing", ask, take)

    def ask(self, text: str) -> bool:
        """Ask for any phrase: adds its row and shows its evidence.

        Args:
            text: The phrase.

        Returns:
            False if nothing was started: no words, or see `Desk.run`.
        """
        phrase = " ".join(text.split())
        if not phrase:
            return False

        def ask(session: Session, progress: ProgressCallback, cancel: CancelToken) -> Findings:
            return session.classify((phrase,), progress=progress, cancel=cancel)

        def take(case: Case, findings: Findings) -> None:
            case.findings = merged(case.findings, finding_rows(findings, asked=True))
            self.show_evidence(phrase, case)

        return self._desk.run(f'Asking for "{phrase}"', ask, take)

    def show_evidence(self, text: str, case: Case | None = None) -> bool:
        """Show where the model sees a finding, and go to its peak.

        Args:
            text: A finding or phrase.
            case: The CT's case; None for that of the chosen CT. The map of another CT is added without being shown.

        Returns:
            False if nothing was started.
        """

        def ask(
            session: Session, progress: ProgressCallback, cancel: CancelToken
        ) -> tuple[EvidenceMap, tuple[float, float]]:
            evidence = session.evidence(text, progress=progress, cancel=cancel)
            return evidence, heat.heat_limits(evidence.values)

        def take(case: Case, answer: tuple[EvidenceMap, tuple[float, float]]) -> None:
            evidence, limits = answer
            case.warn(evidence.provenance.warnings)
            if case is self._desk.case:
                heat.show_heat(self._desk.scene, case.node, evidence, limits)
                r, a, s = (float(value) for value in evidence.peak_ras)
                places.go_to(self._desk.scene, (r, a, s))
            else:
                heat.add_heat(self._desk.scene, case.node, evidence, limits)
            self._drop_old_heat(case)

        return self._desk.run(f"Evidence for {text}", ask, take, case=case, replaceable=True)

    def toggle_evidence(self, text: str) -> None:
        """Show the heat map of a finding, or hide it if it is shown.

        Args:
            text: A finding or phrase.
        """
        if text in self.shown_phrases():
            self.hide_evidence()
        else:
            self.show_evidence(text)

    def hide_evidence(self) -> None:
        """Take the heat map off the slice views."""
        node = self._desk.volume_node
        if node is not None:
            heat.lay_over(self._desk.scene, node, None)
            self._desk.changed()

    def outline(self, case: Case | None = None) -> bool:
        """Outline the structures the model knows.

        Args:
            case: The CT's case; None for that of the chosen CT.

        Returns:
            False if nothing was started.
        """

        def ask(session: Session, progress: ProgressCallback, cancel: CancelToken) -> _Outlines:
            segmentation = session.segment(progress=progress, cancel=cancel)
            return segmentation, structure_rows(segmentation)

        return self._desk.run("Outlining structures", ask, self._take_outlines, case=case, waits=True)

    def shown_phrases(self) -> frozenset[str]:
        """Phrases whose heat maps lie over the CT."""
        return heat.shown_phrases(self._desk.scene)

    def shown_structures(self) -> frozenset[int]:
        """Labels of the structures that are visible."""
        node = self.structures_node
        return segments.shown_labels(node) if node is not None else frozenset()

    def set_structure_shown(self, label: int, *, shown: bool) -> None:
        """Show or hide one structure.

        Args:
            label: Its label.
            shown: Whether to show it.
        """
        node = self.structures_node
        if node is not None:
            segments.show(node, [label], shown=shown)
            self._desk.changed()

    def go_to_structure(self, label: int) -> None:
        """Move the slice views into the midst of a structure.

        Args:
            label: Its label.
        """
        case = self._desk.case
        rows = case.structures if case is not None else ()
        place = next((row.place for row in rows if row.label == label), None)
        if place is not None:
            places.go_to(self._desk.scene, place)

    @property
    def structures_node(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmentation node of the chosen CT's outlined structures."""
        return self._desk.params.node_of("structures")

    def _take_outlines(self, case: Case, answer: _Outlines) -> None:
        segmentation, rows = answer
        node = self._desk.params.node_of("structures", case.node)
        if node is None:
            node = segments.add_segmentation(self._desk.scene, case.node, f"{case.node.GetName()} structures")
            self._desk.params.set_node("structures", node, case.node)
        segments.place_on(node, case.node)
        segments.write(node, case.node, segmentation.labelmap, segmentation.segments)
        hidden = [row.label for row in rows if row.name.casefold() in HIDDEN_AT_FIRST]
        segments.show(node, hidden, shown=False)
        case.structures = rows
        case.warn(segmentation.provenance.warnings if segmentation.provenance is not None else ())

    def _drop_old_heat(self, case: Case) -> None:
        scene = self._desk.scene
        shown = heat.shown_phrases(scene)
        hidden = [node for node in heat.heat_maps(scene, case.node) if node.GetAttribute(heat.PHRASE) not in shown]
        for node in hidden[: max(0, len(hidden) + len(shown) - MAX_HEAT_MAPS)]:
            scene.RemoveNode(node)
