"""What every engine answers: findings, maps and labelmaps in the volume's own grid, with their origin."""

from __future__ import annotations

import json

import numpy as np
import pytest
from chests import chest

from colipri_core.engine import Engine
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.session import Session
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_core.volume import Volume

VOLUME = chest().reoriented("LPS")


class TestEngine:
    def test_it_says_who_it_is(self, engine: Engine) -> None:
        assert isinstance(engine, Engine)
        assert (engine.card.name, engine.card.synthetic) == ("random", True)
        assert len(engine.card.sha256) == 64
        assert engine.device == "cpu"

    def test_it_says_what_it_can_do(self, engine: Engine) -> None:
        can = engine.capabilities
        assert can.findings == CT_RATE_FINDINGS
        assert can.free_text
        assert [structure.name for structure in can.structures] == ["Body", "Left upper lung lobe", "Heart"]

    def test_a_single_slice_is_refused(self, engine: Engine) -> None:
        flat = Volume(voxels=np.zeros((20, 20, 1), np.int16), affine=np.eye(4))
        with pytest.raises(UnsupportedVolumeError, match="slice"):
            engine.open(flat)

    def test_nan_is_refused_and_the_session_closes(self, engine: Engine) -> None:
        voxels = VOLUME.voxels.astype(np.float32)
        voxels[5, 5, 5] = np.nan
        with engine.open(VOLUME.replace_voxels(voxels)) as session, pytest.raises(UnsupportedVolumeError, match="NaN"):
            session.classify()


class TestClassify:
    def test_the_default_list_in_its_order(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session:
            assert isinstance(session, Session)
            findings = session.classify()
        assert tuple(finding.name for finding in findings) == CT_RATE_FINDINGS
        assert findings.case == "chest"
        assert all(0 < finding.probability < 1 and not finding.calibrated for finding in findings)
        assert len({finding.probability for finding in findings}) == 18
        assert findings["pleural effusion"].code == "SCT:60046008"

    def test_every_finding_names_the_place_that_speaks_for_it_most(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session:
            for finding in session.classify(["emphysema", "bright spot"]):
                found = session.evidence(finding.name)
                assert finding.evidence is not None
                assert finding.evidence.place_ras == pytest.approx(tuple(found.peak_ras), abs=1e-6)
                assert finding.evidence.value == pytest.approx(found.peak_value, abs=1e-5)

    def test_free_text_and_synonyms(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session:
            texts = ["small  nodule in the left lobe", "pleural fluid", "Pleural effusion"]
            phrase, synonym, name = session.classify(texts)
        assert (phrase.name, phrase.code) == ("small nodule in the left lobe", "")
        assert synonym == name

    def test_a_negated_question_is_the_complement(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session:
            asked, negated = session.classify(["emphysema", "no emphysema"])
        assert asked.probability + negated.probability == pytest.approx(1.0, abs=1e-6)

    def test_no_questions_no_findings(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session:
            assert len(session.classify([])) == 0

    def test_empty_text_is_refused(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session, pytest.raises(ValueError, match="empty"):
            session.classify(["pleural effusion", " "])

    def test_a_text_instead_of_a_list_is_refused(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session, pytest.raises(TypeError, match="list"):
            session.classify("pleural effusion")

    def test_unknown_words_are_told(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session:
            known, unknown = session.classify(["lung nodule"]), session.classify(["lung zebra stripes"])
        assert not any("word pieces" in warning for warning in known.provenance.warnings)
        assert any('2 of 3 word pieces of "lung zebra stripes"' in warning for warning in unknown.provenance.warnings)


class TestEvidence:
    def test_the_map_lies_on_the_volumes_own_grid(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session:
            found = session.evidence("pleural effusion")
        assert found.geometry == VOLUME.geometry
        assert found.values.shape == VOLUME.shape
        assert found.values.dtype == np.float32
        assert np.nanmax(np.abs(found.values)) <= 2

    def test_the_peak_is_a_voxel_of_the_map_inside_the_body(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session:
            found = session.evidence("lung nodule")
        index = VOLUME.geometry.world_to_index(found.peak_ras)
        i, j, k = (round(float(value)) for value in index)
        assert index == pytest.approx([i, j, k], abs=1e-6)
        assert found.values[i, j, k] == found.peak_value
        assert VOLUME.voxels[i, j, k] > -950

    def test_a_negated_question_turns_the_map_around(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session:
            asked, negated = session.evidence("emphysema"), session.evidence("no emphysema")
        np.testing.assert_allclose(asked.values, -negated.values, atol=1e-6)

    def test_where_the_model_did_not_look_there_is_no_value(self, engine: Engine) -> None:
        tall = chest(spacing=(6.0, 6.0, 14.0))
        longer = Volume(voxels=np.concatenate([tall.voxels] * 2, axis=2), affine=tall.affine, name="long")
        with engine.open(longer) as session:
            found = session.evidence("emphysema")
        unseen = np.isnan(found.values)
        assert unseen[:, :, 0].all()
        assert not unseen[:, :, longer.shape[2] // 2].any()
        assert any("head-foot" in warning for warning in found.provenance.warnings)


class TestSegment:
    def test_all_structures(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session:
            found = session.segment()
        assert found.geometry == VOLUME.geometry
        assert [(s.label, s.name) for s in found.segments] == [(1, "Body"), (2, "Left upper lung lobe"), (3, "Heart")]
        assert found.segments[2].code == "SCT:80891009"
        assert len(np.unique(found.labelmap)) > 1

    def test_a_subset_keeps_labels_and_outlines(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session:
            everything, heart = session.segment(), session.segment(["heart"])
        assert [segment.label for segment in heart.segments] == [3]
        np.testing.assert_array_equal(heart.labelmap, np.where(everything.labelmap == 3, 3, 0))

    def test_an_unknown_structure_is_refused_with_the_known_ones(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session, pytest.raises(ValueError, match=r"gizzard.*Left upper lung lobe"):
            session.segment(["gizzard"])


class TestProvenance:
    def test_it_travels_with_every_result(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session:
            results = (session.classify(), session.evidence("emphysema"), session.segment())
        for result in results:
            origin = result.provenance
            assert origin is not None
            assert origin.model == engine.card
            assert origin.preprocessing["spacing_mm"] == [8.0, 8.0, 8.0]
            assert {"torch", "napari-colipri", "python"} <= set(origin.versions)
            assert (origin.device, origin.precision) == ("cpu", "float32")
            json.dumps(result.to_json(), allow_nan=False)

    def test_the_volume_is_encoded_once(self, engine: Engine) -> None:
        with engine.open(VOLUME) as session:
            first, second = session.classify(), session.evidence("halo sign")
        with engine.open(chest().reoriented("LPS")) as session:
            reopened = session.classify()
        assert "encode" in first.provenance.timings
        assert "encode (cached)" in second.provenance.timings
        assert "encode (cached)" in reopened.provenance.timings
        assert "encode" not in reopened.provenance.timings
        assert reopened.items == first.items

    def test_what_is_no_chest_is_said_to_be_none(self, engine: Engine) -> None:
        water = Volume(voxels=np.zeros((60, 60, 60), np.int16), affine=np.diag([5.0, 5, 5, 1]))
        with engine.open(water) as session:
            warnings = session.classify().provenance.warnings
        assert any("Out of distribution" in warning for warning in warnings)
