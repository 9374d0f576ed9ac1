"""Surfaces lie where their segments lie in the patient, closed and with the outside out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from geometry_strategies import geometries
from hypothesis import given

from colipri_core.errors import UnsupportedVolumeError
from colipri_core.geometry import VolumeGeometry
from colipri_core.io import write_surface
from colipri_core.io import write_surfaces
from colipri_core.io.surface import surface
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("skimage")


def ball(geometry: VolumeGeometry, radius: float) -> Segmentation:
    """Voxels whose centre lies within a radius (mm) of the grid's centre, as label 3."""
    indices = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1)
    inside = np.linalg.norm(geometry.index_to_world(indices) - geometry.center, axis=-1) <= radius
    segments = (Segment(label=3, name="Nodule, left"), Segment(label=4, name="Absent"))
    return Segmentation(labelmap=np.where(inside, 3, 0).astype(np.uint8), geometry=geometry, segments=segments)


@given(geometries(smallest=9, largest=24))
def test_a_surface_is_closed_faces_outwards_and_encloses_its_voxels(geometry: VolumeGeometry) -> None:
    radius = 0.4 * min(size * step for size, step in zip(geometry.shape, geometry.spacing, strict=True))
    segmentation = ball(geometry, radius)
    voxels = np.argwhere(segmentation.labelmap == 3)
    if len(voxels) < 30:
        return
    vertices, faces = surface(segmentation, 3)
    mesh = trimesh.Trimesh(vertices=vertices, faces=faces)
    assert mesh.is_watertight
    assert mesh.volume / 1000 == pytest.approx(segmentation.volumes_ml()["Nodule, left"], rel=0.25)
    inside = geometry.index_to_world(voxels)
    np.testing.assert_allclose(
        mesh.bounds.mean(axis=0), (inside.min(axis=0) + inside.max(axis=0)) / 2, atol=1e-6 + max(geometry.spacing)
    )
    to_grid = geometry.world_to_index(vertices)
    assert np.abs(to_grid.min(axis=0) - (voxels.min(axis=0) - 0.5)).max() < 1e-6
    assert np.abs(to_grid.max(axis=0) - (voxels.max(axis=0) + 0.5)).max() < 1e-6


def test_a_fine_ball_has_the_volume_of_a_ball() -> None:
    geometry = VolumeGeometry(shape=(60, 50, 30), affine=np.diag([-0.7, -0.7, 1.2, 1.0]))
    vertices, faces = surface(ball(geometry, 14.0), 3)
    assert trimesh.Trimesh(vertices=vertices, faces=faces).volume == pytest.approx(4 / 3 * np.pi * 14.0**3, rel=0.02)


def test_a_segment_that_touches_the_border_is_closed_there() -> None:
    geometry = VolumeGeometry(shape=(6, 6, 6), affine=np.eye(4))
    filled = Segmentation(labelmap=np.full((6, 6, 6), 3, np.uint8), geometry=geometry, segments=())
    vertices, faces = surface(filled, 3)
    assert trimesh.Trimesh(vertices=vertices, faces=faces).is_watertight


@pytest.mark.parametrize("suffix", [".stl", ".obj"])
def test_files_hold_the_surface_in_ras_and_say_so(tmp_path: Path, suffix: str) -> None:
    geometry = VolumeGeometry(
        shape=(20, 20, 20), affine=np.array([[0, -1, 0, 40], [-1, 0, 0, -80], [0, 0, 2, 9], [0, 0, 0, 1.0]])
    )
    segmentation = ball(geometry, 7.0)
    (path,) = write_surfaces(segmentation, tmp_path / "mask", suffix=suffix)
    assert path.name == f"mask_Noduleleft{suffix}"
    assert b"SPACE=RAS" in path.read_bytes()[:120]
    loaded = trimesh.load(path)
    vertices, _ = surface(segmentation, 3)
    np.testing.assert_allclose(loaded.bounds, [vertices.min(axis=0), vertices.max(axis=0)], atol=1e-4)
    assert loaded.volume > 0


def test_segments_of_like_names_get_files_of_their_own(tmp_path: Path) -> None:
    geometry = VolumeGeometry(shape=(8, 8, 8), affine=np.eye(4))
    labelmap = np.zeros((8, 8, 8), dtype=np.uint8)
    labelmap[:3], labelmap[5:] = 1, 2
    segments = (Segment(label=1, name="rib"), Segment(label=2, name="r-i-b"))
    paths = write_surfaces(
        Segmentation(labelmap=labelmap, geometry=geometry, segments=segments), tmp_path / "m", suffix=".obj"
    )
    assert [path.name for path in paths] == ["m_rib1.obj", "m_rib2.obj"]


def named(*names: str) -> Segmentation:
    """One voxel for each of several segments."""
    labelmap = np.zeros((8, 8, 8), dtype=np.uint8)
    for label in range(1, len(names) + 1):
        labelmap[label, label, label] = label
    segments = tuple(Segment(label=label, name=name) for label, name in enumerate(names, start=1))
    geometry = VolumeGeometry(shape=(8, 8, 8), affine=np.eye(4))
    return Segmentation(labelmap=labelmap, geometry=geometry, segments=segments)


@pytest.mark.parametrize(
    "names",
    [("Nodule", "Nodule", "Nodule 1"), ("Nodule 2", "Nodule", "Nodule"), ("A", "A", "a 1", "A1 3"), ("rib", "RIB")],
)
def test_no_surface_takes_the_file_of_another(tmp_path: Path, names: tuple[str, ...]) -> None:
    segmentation = named(*names)
    paths = write_surfaces(segmentation, tmp_path / "m", suffix=".stl")
    assert len({path.name.casefold() for path in paths}) == len(names)
    for label, path in enumerate(paths, start=1):
        np.testing.assert_allclose(trimesh.load(path).bounds.mean(axis=0), [label] * 3, atol=1e-5)


def test_names_of_any_script_and_length(tmp_path: Path) -> None:
    paths = write_surfaces(named("\u7ed3\u8282", "\u80f8" * 100, "--"), tmp_path / "m", suffix=".stl")
    assert [paths[0].name, paths[2].name] == ["m_\u7ed3\u8282.stl", "m_label3.stl"]
    assert 60 < len(paths[1].name.encode()) < 100
    assert all(path.is_file() for path in paths)


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    segmentation = ball(VolumeGeometry(shape=(8, 8, 8), affine=np.eye(4)), 3.0)
    with pytest.raises(UnsupportedVolumeError, match="found none"):
        write_surface(segmentation, tmp_path / "x.stl", label=4)
    with pytest.raises(ValueError, match=r"\.stl, \.obj"):
        write_surface(segmentation, tmp_path / "x.ply", label=3)
    with pytest.raises(ValueError, match="does not exist"):
        write_surface(segmentation, tmp_path / "no" / "x.stl", label=3)
    assert not list(tmp_path.iterdir())
