"""Nodes of a real MRML scene and the core's data types: nothing moves, nothing is lost, edits touch their box only."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import slicer
from nodes import MOVED
from nodes import SHAPE

from colipri_core.findings import EvidenceMap
from colipri_core.geometry import VolumeGeometry
from colipri_core.geometry import apply_affine
from colipri_core.geometry import reorient_array
from colipri_core.prompts import Box
from colipri_core.prompts import Lasso
from colipri_core.prompts import Scribble
from colipri_core.prompts import prompt_mask
from colipri_core.provenance import ModelCard
from colipri_core.provenance import Provenance
from colipri_core.segmentation import Segment
from ColipriLib.scene import heat
from ColipriLib.scene import markups
from ColipriLib.scene import places
from ColipriLib.scene import segments
from ColipriLib.scene import volumes

HEART = Segment(label=1, name="Heart", code="SCT:80891009", color=(206, 110, 84))
NODULE = Segment(label=300, name="Nodule", code="", color=(230, 159, 0))


def labelmap() -> np.ndarray:
    labels = np.zeros(SHAPE, dtype=np.uint16)
    labels[2:6, 3:7, 1:5] = 1
    labels[8:12, 2:5, 4:9] = 300
    return labels


class TestSegments:
    def test_a_labelmap_is_read_back_voxel_by_voxel(self, scene: object, volume: object) -> None:
        node = segments.add_segmentation(scene, volume, "structures")
        segments.write(node, volume, labelmap(), (HEART, NODULE))

        found, described = segments.read(node, volume)

        np.testing.assert_array_equal(found, labelmap())
        assert described == (HEART, NODULE)
        assert node.GetTransformNodeID() == volume.GetTransformNodeID()
        assert node.GetSegmentation().GetNumberOfLayers() == 1

    def test_a_saved_file_has_the_same_voxels(self, scene: object, volume: object, tmp_path: Path) -> None:
        node = segments.add_segmentation(scene, volume, "structures")
        segments.write(node, volume, labelmap(), (HEART, NODULE))
        before = volumes.geometry_of(volume)
        assert scene.WriteToMRB(str(tmp_path / "case.mrb"))
        scene.Clear(0)
        assert scene.ReadFromMRB(str(tmp_path / "case.mrb"))

        again = scene.GetFirstNodeByName("made here")
        found, described = segments.read(scene.GetFirstNodeByName("structures"), again)
        now = volumes.geometry_of(again)  # left-handed axes were turned round by Slicer's reader
        np.testing.assert_array_equal(reorient_array(found, now.orientation, before.orientation), labelmap())
        np.testing.assert_allclose(now.reoriented(before.orientation).affine, before.affine, atol=1e-5)
        assert described == (HEART, NODULE)

    def test_slicers_own_reader_sees_the_same_voxels(self, scene: object, volume: object) -> None:
        node = segments.add_segmentation(scene, volume, "structures")
        segments.write(node, volume, labelmap(), (HEART, NODULE))
        target = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "exported")
        slicer.vtkSlicerSegmentationsModuleLogic.ExportVisibleSegmentsToLabelmapNode(node, target, volume)

        exported = volumes.scalars_of(target.GetImageData()).transpose(2, 1, 0)

        np.testing.assert_array_equal(exported > 0, labelmap() > 0)
        np.testing.assert_array_equal(exported == exported[3, 4, 2], labelmap() == 1)

    def test_an_edit_writes_its_box_only(self, scene: object, volume: object) -> None:
        node = segments.add_segmentation(scene, volume, "labels")
        labels = labelmap()
        segments.write(node, volume, labels, (HEART, NODULE))
        labels[4:9, 3:6, 3:6] = 300
        labels[4, 3, 3] = 0

        assert segments.write_box(node, (4, 3, 3), labels[4:9, 3:6, 3:6], (HEART, NODULE))
        np.testing.assert_array_equal(segments.read(node, volume)[0], labels)

    def test_an_edit_is_noticed_by_the_stamp(self, scene: object, volume: object) -> None:
        node = segments.add_segmentation(scene, volume, "labels")
        segments.write(node, volume, labelmap(), (HEART, NODULE))
        before = segments.stamp(node)

        assert segments.stamp(node) == before
        segments.write_box(node, (0, 0, 0), np.ones((1, 1, 1), np.uint16), (HEART, NODULE))
        assert segments.stamp(node) > before

    def test_a_layer_that_is_no_longer_ours_is_not_written_to(self, scene: object, volume: object) -> None:
        node = segments.add_segmentation(scene, volume, "labels")
        segments.write(node, volume, labelmap(), (HEART, NODULE))
        node.GetSegmentation().CollapseBinaryLabelmaps(True)
        node.GetSegmentation().AddEmptySegment("mine", "mine", (1.0, 0.0, 0.0))

        assert not segments.write_box(node, (0, 0, 0), np.ones((1, 1, 1), np.uint16), (HEART, NODULE))

    def test_a_segment_of_the_user_gets_a_label(self, scene: object, volume: object) -> None:
        node = segments.add_segmentation(scene, volume, "labels")
        segments.write(node, volume, labelmap(), (HEART,))
        node.GetSegmentation().AddEmptySegment("mine", "Mine", (0.0, 1.0, 0.0))

        assert segments.read(node, volume)[1] == (HEART, Segment(label=2, name="Mine", color=(0, 255, 0)))

    def test_what_is_removed_from_the_core_is_removed_from_the_node(self, scene: object, volume: object) -> None:
        node = segments.add_segmentation(scene, volume, "labels")
        segments.write(node, volume, labelmap(), (HEART, NODULE))
        segments.write(node, volume, np.where(labelmap() == 1, 1, 0).astype(np.uint16), (HEART,))

        assert set(segments.segment_ids(node)) == {1}

    def test_a_renamed_segment_keeps_its_voxels(self, scene: object, volume: object) -> None:
        node = segments.add_segmentation(scene, volume, "labels")
        segments.write(node, volume, labelmap(), (HEART, NODULE))
        renamed = dataclasses.replace(NODULE, name="Tumour", code="SCT:108369006", color=(1, 2, 3))
        segments.describe(node, (HEART, renamed))

        found, described = segments.read(node, volume)
        np.testing.assert_array_equal(found, labelmap())
        assert described == (HEART, renamed)

    def test_terminology_is_what_slicer_parses(self, scene: object, volume: object) -> None:
        entry = slicer.vtkSlicerTerminologyEntry()
        logic = slicer.vtkSlicerTerminologiesModuleLogic()

        assert logic.DeserializeTerminologyEntry(segments.terminology_entry(HEART), entry)
        assert entry.GetTypeObject().GetCodeValue() == "80891009"
        assert entry.GetTypeObject().GetCodeMeaning() == "Heart"
        assert segments.code_of(segments.terminology_entry(HEART)) == HEART.code

    def test_visibility(self, scene: object, volume: object) -> None:
        node = segments.add_segmentation(scene, volume, "structures")
        segments.write(node, volume, labelmap(), (HEART, NODULE))
        segments.show(node, [1], shown=False)

        assert segments.shown_labels(node) == {300}


class TestMarkups:
    def test_fiducials_land_on_their_voxel(self, scene: object, volume: object) -> None:
        taken = volumes.volume_of(volume)
        node = markups.add_markup(scene, "point", positive=True)
        node.AddControlPointWorld(tuple(taken.geometry.index_to_world((3, 4, 5))))

        (prompt,) = markups.prompts_of(node, taken.geometry)

        np.testing.assert_allclose(taken.geometry.world_to_index(prompt.ras), (3, 4, 5), atol=1e-6)

    def test_fiducials_under_a_transform_of_their_own(self, scene: object, volume: object) -> None:
        taken = volumes.volume_of(volume)
        node = markups.add_markup(scene, "point", positive=False)
        local = apply_affine(np.linalg.inv(MOVED), taken.geometry.index_to_world((9, 2, 7)))
        node.AddControlPoint(tuple(local))
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())

        (prompt,) = markups.prompts_of(node, taken.geometry, positive=False)

        np.testing.assert_allclose(taken.geometry.world_to_index(prompt.ras), (9, 2, 7), atol=1e-6)
        assert not prompt.positive

    def test_a_point_that_follows_the_mouse_is_none(self, scene: object, volume: object) -> None:
        node = markups.add_markup(scene, "point", positive=True)
        node.AddControlPointWorld((0.0, 0.0, 0.0))
        node.SetNthControlPointPosition(0, 0.0, 0.0, 0.0, slicer.vtkMRMLMarkupsNode.PositionPreview)

        assert markups.prompts_of(node, volumes.geometry_of(volume)) == ()

    def test_curves_are_scribbles_and_lassos(self, scene: object, volume: object) -> None:
        geometry = volumes.geometry_of(volume)
        corners = geometry.index_to_world([(2, 2, 5), (9, 2, 5), (9, 8, 5), (2, 8, 5)])
        found = {}
        for tool in ("scribble", "lasso"):
            node = markups.add_markup(scene, tool, positive=True)
            for corner in corners:
                node.AddControlPointWorld(tuple(corner))
            (found[tool],) = markups.prompts_of(node, geometry)

        assert isinstance(found["scribble"], Scribble)
        assert isinstance(found["lasso"], Lasso)
        for prompt in found.values():
            indices = geometry.world_to_index(prompt.ras)
            np.testing.assert_allclose(indices[:, 2], 5, atol=1e-4)
            np.testing.assert_allclose(indices[0], (2, 2, 5), atol=1e-4)

    def test_a_scribble_is_as_wide_on_thick_slices(self, scene: object) -> None:
        geometry = VolumeGeometry(shape=(64, 64, 20), affine=np.diag([-0.57, -0.57, 5.0, 1.0]))
        node = markups.add_markup(scene, "scribble", positive=True)
        for corner in geometry.index_to_world([(10, 32, 9), (50, 32, 9)]):
            node.AddControlPointWorld(tuple(corner))

        (prompt,) = markups.prompts_of(node, geometry)

        drawn = prompt_mask(prompt, geometry).on_grid(geometry.shape)
        assert drawn[10:51, 32, 9].all()
        assert np.ptp(np.argwhere(drawn), axis=0)[1:].tolist() == [4, 0]

    def test_too_little_drawn_is_no_prompt(self, scene: object, volume: object) -> None:
        for tool in ("point", "scribble", "lasso", "box"):
            node = markups.add_markup(scene, tool, positive=True)

            assert markups.prompts_of(node, volumes.geometry_of(volume)) == ()

    def test_an_roi_along_the_volume_is_its_box(self, scene: object, volume: object) -> None:
        geometry = volumes.geometry_of(volume)
        node = markups.add_markup(scene, "box", positive=True)
        lower, upper = np.array([2.0, 3.0, 1.0]), np.array([8.0, 9.0, 6.0])
        to_node = np.eye(4)
        to_node[:3, :3] = geometry.direction
        to_node[:3, 3] = geometry.index_to_world((lower + upper) / 2)
        node.SetSize(*((upper - lower) * geometry.spacing))
        node.SetAndObserveObjectToNodeMatrix(volumes.as_matrix(to_node))
        node.SetCenterWorld(tuple(to_node[:3, 3]))

        (box,) = markups.prompts_of(node, geometry)

        assert isinstance(box, Box)
        found = np.sort(geometry.world_to_index([box.lower_ras, box.upper_ras]), axis=0)
        np.testing.assert_allclose(found, [lower, upper], atol=1e-4)

    def test_points_are_shown_as_the_session_has_them(self, scene: object, volume: object) -> None:
        geometry = volumes.geometry_of(volume)
        drawn = markups.add_markup(scene, "point", positive=True)
        for index in ((1, 1, 1), (5, 5, 5)):
            drawn.AddControlPointWorld(tuple(geometry.index_to_world(index)))
        first, _ = markups.prompts_of(drawn, geometry)

        markups.show_points(drawn, [first], positive=True)

        assert markups.prompts_of(drawn, geometry) == (first,)


class TestHeat:
    def evidence(self, volume: object) -> EvidenceMap:
        geometry = volumes.geometry_of(volume)
        values = np.linspace(-1, 1, geometry.shape[0] * 120, dtype=np.float32).reshape(SHAPE)
        values[0, 0, 0] = np.nan
        card = ModelCard(name="m", sha256="0" * 64, kind="k", training_data="t", synthetic=True, licence="l")
        provenance = Provenance(model=card, preprocessing={}, versions={}, device="cpu", timings={})
        peak = geometry.index_to_world((13, 11, 9))
        return EvidenceMap(
            text="nodule", values=values, geometry=geometry, peak_ras=peak, peak_value=1.0, provenance=provenance
        )

    def test_a_heat_map_lies_over_the_ct(self, scene: object, volume: object) -> None:
        evidence = self.evidence(volume)
        node = heat.show_heat(scene, volume, evidence, heat.heat_limits(evidence.values))
        values = volumes.scalars_of(node.GetImageData()).transpose(2, 1, 0)

        np.testing.assert_array_equal(values[1:], evidence.values[1:])
        np.testing.assert_allclose(volumes.geometry_of(node).affine, evidence.geometry.affine)
        assert heat.shown_phrases(scene) == {"nodule"}
        assert heat.heat_maps(scene, volume) == [node]

    def test_what_is_unknown_lies_below_the_threshold(self, scene: object, volume: object) -> None:
        evidence = self.evidence(volume)
        node = heat.show_heat(scene, volume, evidence, heat.heat_limits(evidence.values))

        assert node.GetDisplayNode().GetApplyThreshold()
        assert volumes.scalars_of(node.GetImageData())[0, 0, 0] < node.GetDisplayNode().GetLowerThreshold()

    def test_the_same_phrase_uses_its_node_again(self, scene: object, volume: object) -> None:
        evidence = self.evidence(volume)
        first = heat.show_heat(scene, volume, evidence, (0.0, 1.0))

        assert heat.show_heat(scene, volume, evidence, (0.0, 1.0)) is first

    def test_it_can_be_taken_away(self, scene: object, volume: object) -> None:
        evidence = self.evidence(volume)
        heat.show_heat(scene, volume, evidence, (0.0, 1.0))
        heat.lay_over(scene, volume, None)

        assert heat.shown_phrases(scene) == frozenset()

    @pytest.mark.parametrize(
        ("values", "limits"),
        [(np.full(3, np.nan), (0.0, 1.0)), (np.full(5, -2.0), (-2.001, -2.0)), (np.linspace(-1, 1, 11), (0.8, 1.0))],
    )
    def test_limits(self, values: np.ndarray, limits: tuple[float, float]) -> None:
        np.testing.assert_allclose(heat.heat_limits(values), limits)


def test_slices_jump_to_a_place(scene: object) -> None:
    places.go_to(scene, (12.0, -7.0, 30.5))

    offsets = {
        node.GetLayoutName(): node.GetSliceOffset()
        for number in range(3)
        for node in [scene.GetNthNodeByClass(number, "vtkMRMLSliceNode")]
    }
    assert offsets["Red"] == pytest.approx(30.5)


def test_windows_are_set(volume: object) -> None:
    places.set_window(volume, "Lung")

    assert (volume.GetDisplayNode().GetWindow(), volume.GetDisplayNode().GetLevel()) == (1500.0, -600.0)
