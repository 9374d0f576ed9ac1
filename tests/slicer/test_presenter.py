"""State and words of the panels, without Slicer: what is said of connection, results, labels, draft and searches."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import extension  # noqa: F401 - makes ColipriLib importable
import numpy as np
import pytest
from test_params import ParameterNode

from colipri_core.editing.change import EditingState
from colipri_core.editing.objects import LabelObject
from colipri_core.engine import Capabilities
from colipri_core.findings import Finding
from colipri_core.findings import Findings
from colipri_core.geometry import VolumeGeometry
from colipri_core.listing import FindingRow
from colipri_core.listing import finding_rows
from colipri_core.listing import merged
from colipri_core.provenance import ModelCard
from colipri_core.provenance import Provenance
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from ColipriLib import presenter
from ColipriLib.client import ModelInfo
from ColipriLib.params import Parameters
from ColipriLib.rows import StructureRow
from ColipriLib.rows import structure_rows

CARD = ModelCard(name="tiny", sha256="0" * 64, kind="colipri", training_data="phantoms.", synthetic=True, licence="x")
INFO = ModelInfo(
    address="http://gpu:8765",
    card=CARD,
    capabilities=Capabilities(findings=("Nodule",), free_text=True, structures=()),
    device="cuda:0",
    stores=("lab",),
)
NODULE = FindingRow(name="Nodule", code="RADLEX:1", probability=0.4, calibrated=False)


def logic(**changes: Any) -> Any:
    """Controllers at rest on an empty scene, with some things changed."""
    state = {
        "client": SimpleNamespace(info=None, lost="", address="http://gpu:8765"),
        "case": None,
        "problem": "",
        "tested": "",
        "volume_node": None,
        "runner": SimpleNamespace(busy=False, title="", fraction=0.0, message=""),
        "state": None,
        **changes,
    }
    params = Parameters(ParameterNode())
    desk = SimpleNamespace(params=params, **{key: value for key, value in state.items() if key != "state"})
    return SimpleNamespace(
        desk=desk,
        analysis=SimpleNamespace(shown_phrases=lambda: frozenset({"Nodule"}), shown_structures=frozenset),
        labelling=SimpleNamespace(state=state["state"]),
        reporting=SimpleNamespace(report=None, rows=(), drafting=False, note=""),
        similar=SimpleNamespace(rows=(), note=""),
    )


def case(**changes: Any) -> Any:
    return SimpleNamespace(findings=(), structures=(), notice="", warnings=(), **changes)


def test_an_empty_scene_says_how_to_begin() -> None:
    view = presenter.present(logic())

    assert view.model.status == presenter.NOT_CONNECTED
    assert view.model.tone == "idle"
    assert not view.model.can_run
    assert view.findings.note == presenter.NO_FINDINGS
    assert view.structures.note == presenter.NO_STRUCTURES
    assert view.report.note == presenter.NO_REPORT
    assert view.similar.note == presenter.NO_MATCHES


def test_a_connected_model_is_named_with_its_device() -> None:
    view = presenter.present(logic(client=SimpleNamespace(info=INFO, lost="", address=INFO.address)))

    assert view.model.status == "tiny on cuda:0, at http://gpu:8765"
    assert view.model.tone == "ok"
    assert "SYNTHETIC" in view.model.notice
    assert view.similar.stores == ("lab",)


def test_a_lost_server_is_named_and_nothing_is_lost() -> None:
    view = presenter.present(logic(client=SimpleNamespace(info=INFO, lost="gone", address="http://gpu:8765")))

    assert view.model.tone == "problem"
    assert "http://gpu:8765" in view.model.status
    assert "kept" in view.model.status


def test_running_work_shows_its_progress_and_blocks_the_rest() -> None:
    runner = SimpleNamespace(busy=True, title="Analysing", fraction=0.424, message="Encoding")
    view = presenter.present(logic(runner=runner, volume_node=object()))

    assert (view.model.busy, view.model.percent, view.model.message) == ("Analysing", 42, "Encoding")
    assert not view.model.can_run


@pytest.mark.parametrize(("calibrated", "note"), [(True, ""), (False, presenter.UNCALIBRATED)])
def test_uncalibrated_probabilities_are_called_so(*, calibrated: bool, note: str) -> None:
    row = dataclasses.replace(NODULE, calibrated=calibrated)
    found = case()
    found.findings = (row,)

    view = presenter.present(logic(case=found)).findings
    assert (view.rows, view.note, view.shown) == ((row,), note, {"Nodule"})


def test_structures_that_were_not_found_are_named() -> None:
    found = case()
    heart = StructureRow(label=1, name="Heart", code="", color=(1, 2, 3), volume_ml=500.0, place=(0.0, 0.0, 0.0))
    found.structures = (heart, dataclasses.replace(heart, label=2, name="Spleen", volume_ml=0.0, place=None))

    assert presenter.present(logic(case=found)).structures.note == "Not found: Spleen."


def test_labels_show_volumes_and_what_can_be_undone() -> None:
    state = EditingState(
        objects=(LabelObject.new(1, "Nodule"),),
        voxels={1: 20_000},
        voxel_volume_ml=0.001,
        prompts={},
        undo=("point", "paint"),
        redo=(),
        recovered=3,
    )
    view = presenter.present(logic(state=state)).label

    assert (view.volumes, view.undo, view.redo) == ({1: "20 mL"}, "point", "")
    assert view.note.startswith("3 edits")


@pytest.mark.parametrize(
    ("volume", "text"), [(0.0, "0.00 mL"), (9.994, "9.99 mL"), (10.0, "10 mL"), (2345.6, "2,346 mL")]
)
def test_volumes_in_words(volume: float, text: str) -> None:
    assert presenter.volume_text(volume) == text


class TestRows:
    def findings(self, *items: tuple[str, float]) -> Findings:
        provenance = Provenance(model=CARD, preprocessing={}, versions={}, device="cpu", timings={})
        found = tuple(Finding(name=name, code="", probability=value, calibrated=True) for name, value in items)
        return Findings(case="c", items=found, provenance=provenance)

    def test_newer_findings_replace_those_of_the_same_name(self) -> None:
        rows = merged((), finding_rows(self.findings(("Nodule", 0.2), ("Effusion", 0.9))))
        rows = merged(rows, finding_rows(self.findings(("nodule", 0.95)), asked=True))

        assert [(row.name, row.probability, row.asked) for row in rows] == [
            ("nodule", 0.95, True),
            ("Effusion", 0.9, False),
        ]

    def test_rows_go_to_json_and_back(self) -> None:
        structure = StructureRow(
            label=3, name="Aorta", code="SCT:1", color=(1, 2, 3), volume_ml=1.5, place=(1.0, 2.0, 3.0)
        )

        assert FindingRow.from_json(NODULE.to_json()) == NODULE
        assert StructureRow.from_json(structure.to_json()) == structure
        nowhere = dataclasses.replace(structure, place=None)
        assert StructureRow.from_json(nowhere.to_json()) == nowhere

    def test_the_place_of_a_structure_lies_in_it(self) -> None:
        labelmap = np.zeros((20, 20, 6), dtype=np.uint8)
        labelmap[2:18, 2:18, 3] = 1
        labelmap[5:15, 5:15, 3] = 0
        geometry = VolumeGeometry(shape=labelmap.shape, affine=np.diag([-0.7, 0.9, 2.0, 1.0]))
        segments = (Segment(label=1, name="Ring"), Segment(label=2, name="Nothing"))

        ring, nothing = structure_rows(Segmentation(labelmap=labelmap, geometry=geometry, segments=segments))

        index = tuple(np.round(geometry.world_to_index(ring.place)).astype(int))
        assert labelmap[index] == 1
        assert nothing.place is None
        assert nothing.volume_ml == 0.0
