"""Results kept with the scene: rows and draft as JSON in a hidden text node, everything else as nodes of its own.

What a saved scene holds is data, not trust: it is read strictly, and a damaged part is left out, said in a warning.
"""

from __future__ import annotations

import json
from typing import Any

from colipri_core.errors import ColipriError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.listing import FindingRow
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.report import Report
from ColipriLib.case import Case
from ColipriLib.desk import Desk
from ColipriLib.rows import StructureRow
from ColipriLib.scene import texts

VERSION = 1
NAME = "Colipri results"
DAMAGED = "The results saved with this scene could not be read ({}). Analyse again."
OF_ANOTHER_VOLUME = "The volume differs from the one these results were saved for. Analyse again."


def save(desk: Desk) -> None:
    """Write the results of all CTs into the scene; to be called whenever they changed.

    Args:
        desk: The desk.
    """
    for case in desk.cases:
        if case.findings or case.structures or case.report:
            _save(desk, case)


def _save(desk: Desk, case: Case) -> None:
    document = {
        "version": VERSION,
        "volume_sha256": case.volume.sha256,
        "findings": [row.to_json() for row in case.findings],
        "structures": [row.to_json() for row in case.structures],
        "report": to_plain(case.report) if case.report is not None else None,
        "report_edited": case.report_edited,
        "notice": case.notice,
        "warnings": list(case.warnings),
    }
    text = json.dumps(document)
    node = desk.params.node_of("results", case.node)
    if node is None or node.GetText() != text:
        node = texts.write_text(desk.scene, node, NAME, text)
        texts.hide(node)
        desk.params.set_node("results", node, case.node)


def restore(desk: Desk) -> bool:
    """Take up the results that the scene holds of the chosen CT, unless the CT has some already.

    Args:
        desk: The desk.

    Returns:
        Whether there were any, for the volume as it is now.
    """
    desk.params.take_over_nodes()
    node = desk.params.node_of("results")
    if node is None or desk.volume_node is None or desk.case is not None:
        return False
    try:
        case = Case.take(desk.volume_node)
    except UnsupportedVolumeError as error:
        desk.fail(error)
        return False
    restored = _fill(case, node.GetText())
    desk.keep(case)
    desk.changed()
    return restored


def _fill(case: Case, text: str) -> bool:
    try:
        document: dict[str, Any] = json.loads(text)
        if document["version"] != VERSION:
            msg = f"version {document['version']}"
            raise ValueError(msg)
        if document["volume_sha256"] != case.volume.sha256:
            case.warn((OF_ANOTHER_VOLUME,))
            return False
        findings = tuple(FindingRow.from_json(row) for row in document["findings"])
        structures = tuple(StructureRow.from_json(row) for row in document["structures"])
        report = from_plain(Report, document["report"]) if document["report"] is not None else None
        warnings = tuple(str(item) for item in document["warnings"])
        notice, edited = str(document["notice"]), bool(document["report_edited"])
    except (ColipriError, KeyError, TypeError, ValueError) as error:
        case.warn((DAMAGED.format(error),))
        return False
    case.findings, case.structures, case.report = findings, structures, report
    case.notice, case.report_edited = notice, edited
    case.warn(warnings)
    return True
