"""State and words of the six panels in plain values; `panels` puts them into widgets, tests read them as they are."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from colipri_core.editing.objects import LabelObject
from colipri_core.listing import DraftRow
from colipri_core.listing import FindingRow
from colipri_core.report import RESEARCH_USE
from ColipriLib.params import TOOLS
from ColipriLib.rows import MatchRow
from ColipriLib.rows import StructureRow

if TYPE_CHECKING:
    from ColipriLib.module_logic import ModuleLogic

NOT_CONNECTED = "Not connected. Start a local server, or enter the address of one."
LOST = "The server at {} does not answer. Labels and results are kept; the next step tries again."
UNCALIBRATED = "Not calibrated: the numbers rank, they are no risks."
NO_FINDINGS = "Analyse lists what the model sees."
NO_NAMES = "This model lists no findings by itself."
NO_STRUCTURES = "Analyse outlines the structures the model knows."
NO_REPORT = "Draft report writes what the model sees; every sentence leads to its place."
NO_MATCHES = "Find lists the cases of a store that are most like this scan."


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelView:
    """Panel Model.

    Args:
        status: One line on the connection.
        tone: "idle", "ok" or "problem".
        notice: The model the results came from, for people.
        warnings: What makes the results doubtful.
        problem: What went wrong last and what to do; empty if nothing did.
        busy: What is running; empty if nothing is.
        percent: How far it is.
        message: What it is doing.
        can_run: Whether a new question can be asked.
    """

    status: str
    tone: str
    notice: str
    warnings: tuple[str, ...]
    problem: str
    busy: str
    percent: int
    message: str
    can_run: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class FindingsView:
    """Panel Findings: rows, names of those whose heat map is shown, and a note."""

    rows: tuple[FindingRow, ...]
    shown: frozenset[str]
    note: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class StructuresView:
    """Panel Structures: rows, labels of those that are visible, and a note."""

    rows: tuple[StructureRow, ...]
    shown: frozenset[int]
    note: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelView:
    """Panel Label.

    Args:
        objects: The objects.
        volumes: Label -> volume in words.
        current: Label of the object that is edited.
        tool: The tool in hand.
        positive: Whether prompts show what belongs to the object.
        keep: Whether voxels of other objects are kept.
        undo: What would be undone; empty if nothing can be.
        redo: What would be done again; empty if nothing can be.
        note: What the state of the labels is, in words.
    """

    objects: tuple[LabelObject, ...]
    volumes: dict[int, str]
    current: int
    tool: str
    positive: bool
    keep: bool
    undo: str
    redo: str
    note: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportView:
    """Panel Report: rows, whether a draft is being written, and a note with status and model."""

    rows: tuple[DraftRow, ...]
    drafting: bool
    note: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimilarView:
    """Panel Similar: names of the server's stores, the rows found, and a note."""

    stores: tuple[str, ...]
    rows: tuple[MatchRow, ...]
    note: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """All six panels."""

    model: ModelView
    findings: FindingsView
    structures: StructuresView
    label: LabelView
    report: ReportView
    similar: SimilarView


def present(logic: ModuleLogic) -> View:
    """Return what the panels show now.

    Args:
        logic: The module's logic.
    """
    return View(
        model=_model(logic),
        findings=_findings(logic),
        structures=_structures(logic),
        label=_label(logic),
        report=_report(logic),
        similar=_similar(logic),
    )


def volume_text(volume_ml: float) -> str:
    """A volume for people."""
    return f"{volume_ml:,.0f} mL" if volume_ml >= 10 else f"{volume_ml:.2f} mL"


def _model(logic: ModuleLogic) -> ModelView:
    desk, client, case = logic.desk, logic.desk.client, logic.desk.case
    info = client.info
    if client.lost:
        status, tone = LOST.format(client.address), "problem"
    elif info is None:
        status, tone = NOT_CONNECTED, "idle"
    else:
        status, tone = desk.tested or f"{info.card.name} on {info.device}, at {info.address}", "ok"
    notice = case.notice if case is not None and case.notice else info.card.notice if info is not None else ""
    return ModelView(
        status=status,
        tone=tone,
        notice=notice,
        warnings=case.warnings if case is not None else (),
        problem=desk.problem,
        busy=desk.runner.title,
        percent=round(100 * desk.runner.fraction),
        message=desk.runner.message,
        can_run=desk.volume_node is not None and not desk.runner.busy,
    )


def _findings(logic: ModuleLogic) -> FindingsView:
    case = logic.desk.case
    rows = case.findings if case is not None else ()
    uncalibrated = any(not row.calibrated for row in rows)
    info = logic.desk.client.info
    nothing = NO_NAMES if info is not None and not info.capabilities.findings else NO_FINDINGS
    note = nothing if not rows else UNCALIBRATED if uncalibrated else ""
    return FindingsView(rows=rows, shown=logic.analysis.shown_phrases(), note=note)


def _structures(logic: ModuleLogic) -> StructuresView:
    case = logic.desk.case
    rows = case.structures if case is not None else ()
    missing = [row.name for row in rows if row.place is None]
    note = NO_STRUCTURES if not rows else f"Not found: {', '.join(missing)}." if missing else ""
    return StructuresView(rows=rows, shown=logic.analysis.shown_structures(), note=note)


def _label(logic: ModuleLogic) -> LabelView:
    params, state = logic.desk.params, logic.labelling.state
    volumes = {label: volume_text(value) for label, value in state.volumes_ml().items()} if state is not None else {}
    assert params.text("tool") in TOOLS
    return LabelView(
        objects=state.objects if state is not None else (),
        volumes=volumes,
        current=params.object,
        tool=params.text("tool"),
        positive=params.positive,
        keep=params.text("policy") == "keep",
        undo=state.undo[0] if state is not None and state.undo else "",
        redo=state.redo[0] if state is not None and state.redo else "",
        note=f"{state.recovered} edits of an earlier session were taken up." if state and state.recovered else "",
    )


def _report(logic: ModuleLogic) -> ReportView:
    reporting = logic.reporting
    report = reporting.report
    status = f"{RESEARCH_USE} Model: {report.provenance.model.name}." if report is not None else NO_REPORT
    note = " ".join(part for part in (status, reporting.note) if part)
    return ReportView(rows=reporting.rows, drafting=reporting.drafting, note=note)


def _similar(logic: ModuleLogic) -> SimilarView:
    info, similar = logic.desk.client.info, logic.similar
    note = similar.note or ("" if similar.rows else NO_MATCHES)
    return SimilarView(stores=info.stores if info is not None else (), rows=similar.rows, note=note)
