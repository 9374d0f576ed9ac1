"""Volume nodes of a real MRML scene and the core's volumes: voxels stay in their places, what is no CT is refused."""

from __future__ import annotations

from pathlib import Path

import nodes
import numpy as np
import pytest
import slicer
from nodes import AFFINE
from nodes import MOVED
from nodes import SHAPE

from colipri_core.errors import UnsupportedVolumeError
from colipri_core.geometry import apply_affine
from colipri_core.volume import Volume
from ColipriLib.scene import volumes


class TestVolumes:
    def test_voxels_and_affine_are_those_of_the_node_under_its_transform(self, volume: object) -> None:
        taken = volumes.volume_of(volume)

        assert taken.shape == SHAPE
        assert taken.voxels[3, 4, 5] == 3 * 120 + 4 * 10 + 5 - 800
        np.testing.assert_allclose(taken.affine, MOVED @ AFFINE)

    def test_voxels_are_a_copy(self, volume: object) -> None:
        taken = volumes.volume_of(volume)
        volumes.scalars_of(volume.GetImageData())[:] = 7

        assert taken.voxels[3, 4, 5] != 7

    @pytest.mark.parametrize("left_handed", [False, True])
    def test_a_file_lies_where_it_says(
        self, scene: object, shared_data: Path, tmp_path: Path, *, left_handed: bool
    ) -> None:
        source = shared_data / "lung_masks" / "imlab_id001_ct.nii.gz"
        voxels, affine = nodes.write_oblique(source, tmp_path / "scan.nii.gz", left_handed=left_handed)
        taken = volumes.volume_of(nodes.load(tmp_path / "scan.nii.gz"))

        for index in ((30, 60, 20), (100, 20, 50)):
            place = apply_affine(affine, index)
            found = taken.geometry.world_to_index(place)
            np.testing.assert_allclose(found, np.round(found), atol=1e-3)
            assert taken.voxels[tuple(np.round(found).astype(int))] == voxels[index]

    def test_a_chain_of_transforms_is_followed(self, scene: object, volume: object) -> None:
        above = nodes.put_under(volume.GetParentTransformNode(), nodes.rotation(90.0, 2))

        np.testing.assert_allclose(volumes.volume_of(volume).affine, nodes.rotation(90.0, 2) @ MOVED @ AFFINE)
        assert above.GetScene() is scene

    def test_a_non_linear_transform_is_refused(self, scene: object, volume: object) -> None:
        import vtk

        grid = scene.AddNewNodeByClass("vtkMRMLTransformNode", "bent")
        warp = vtk.vtkThinPlateSplineTransform()
        first, second = vtk.vtkPoints(), vtk.vtkPoints()
        for number in range(4):
            place = [10.0 * (axis == number) for axis in range(3)]
            first.InsertNextPoint(place)
            second.InsertNextPoint([value + number for value in place])
        warp.SetSourceLandmarks(first)
        warp.SetTargetLandmarks(second)
        grid.SetAndObserveTransformToParent(warp)
        volume.SetAndObserveTransformNodeID(grid.GetID())

        with pytest.raises(UnsupportedVolumeError, match=r"non-linear.*Harden"):
            volumes.volume_of(volume)

    @pytest.mark.parametrize("mirror", [1.0, -1.0], ids=["left-handed", "right-handed"])
    def test_a_volume_becomes_a_right_handed_node_with_every_voxel_in_its_place(
        self, scene: slicer.vtkMRMLScene, mirror: float
    ) -> None:
        voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) - 800
        given = Volume(voxels=voxels, affine=AFFINE @ np.diag([1.0, mirror, 1.0, 1.0]), name="fetched")
        node = volumes.add_volume(scene, given)
        taken = volumes.volume_of(node)

        assert node.GetName() == "fetched"
        assert not taken.geometry.is_left_handed
        assert "warnings" not in taken.metadata or not taken.metadata["warnings"]
        places_of = given.geometry.index_to_world(np.stack(np.indices(SHAPE), -1).reshape(-1, 3))
        index = np.rint(taken.geometry.world_to_index(places_of)).astype(int)
        np.testing.assert_array_equal(taken.voxels[tuple(index.T)], voxels.ravel())
        np.testing.assert_allclose(volumes.center_of(node), given.geometry.center)

    @pytest.mark.parametrize(
        ("kind", "found"),
        [("vtkMRMLScalarVolumeNode", "no voxels"), ("vtkMRMLLabelMapVolumeNode", "LabelMapVolume")],
    )
    def test_what_is_no_ct_is_refused(self, scene: object, kind: str, found: str) -> None:
        with pytest.raises(UnsupportedVolumeError, match=found):
            volumes.volume_of(scene.AddNewNodeByClass(kind, "other"))

    def test_no_volume_a_single_slice_and_colours_are_refused(self, scene: object) -> None:
        single = nodes.add_volume(scene, np.zeros((5, 5, 1), dtype=np.int16), np.eye(4))
        colored = nodes.add_volume(scene, np.zeros((5, 5, 5), dtype=np.int16), np.eye(4))
        colored.GetImageData().AllocateScalars(3, 3)

        for node, found in ((None, "no volume"), (single, "single slice"), (colored, "3 values in each voxel")):
            with pytest.raises(UnsupportedVolumeError, match=found):
                volumes.volume_of(node)

    def test_a_flat_matrix_is_refused(self, scene: object) -> None:
        flat = nodes.add_volume(scene, np.zeros((5, 5, 5), dtype=np.int16), np.diag([1.0, 1.0, 0.0, 1.0]))

        with pytest.raises(UnsupportedVolumeError, match="cannot be placed"):
            volumes.volume_of(flat)
