"""Voxel probes: separable features are outlined whole, and the volume that is left out has no part in its probe."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom
from small_encoders import SMALL_RESNET

from colipri_core.errors import InputError
from colipri_core.geometry import VolumeGeometry
from colipri_core.io import read_volume
from colipri_training.encoders import build_encoder
from colipri_training.evaluation import voxel_probe
from colipri_training.evaluation.probed_volumes import CASES
from colipri_training.evaluation.probed_volumes import LESION
from colipri_training.evaluation.probed_volumes import Intensity
from colipri_training.evaluation.probed_volumes import positions
from colipri_training.evaluation.probed_volumes import probed
from colipri_training.evaluation.voxel_probe import LinearProbe
from colipri_training.evaluation.voxel_probe import ProbedVolume
from colipri_training.evaluation.voxel_probe import VoxelProbeOptions
from colipri_training.evaluation.voxel_probe import best_threshold
from colipri_training.evaluation.voxel_probe import fit
from colipri_training.evaluation.voxel_probe import leave_one_out
from colipri_training.evaluation.voxel_probe import logits_at
from colipri_training.evaluation.voxel_probe import logits_of
from colipri_training.evaluation.voxel_probe import sample

WINDOW = (-1000.0, 1000.0)


def centres(size: int) -> torch.Tensor:
    """Positions of voxels that fill the extent."""
    return (2 * (torch.arange(size) + 0.5) / size - 1).float()


def synthetic(name: str, seed: int, *, signal: float, size: int = 24) -> ProbedVolume:
    """A ball whose inside one of four channels tells, in noise, on a grid half as fine as the voxels."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.arange(size),) * 3, indexing="ij")
    middle = rng.uniform(8, 16, 3)
    distance = np.sqrt(sum((axis - centre) ** 2 for axis, centre in zip(axes, middle, strict=True)))
    mask = distance < 6
    field = torch.from_numpy(zoom((6 - distance) * signal, 0.5, order=1)).float()
    level = torch.from_numpy(rng.normal(0, 0.1, (4, *field.shape))).float()
    level[2] += field
    return ProbedVolume(name=name, maps=(level,), positions=(centres(size),) * 3, masks={"ball": mask})


def volumes(signal: float = 1.0) -> list[ProbedVolume]:
    return [synthetic(f"volume {seed}", seed, signal=signal) for seed in range(3)]


class TestLeaveOneOut:
    def test_separable_features_are_outlined(self) -> None:
        rows = leave_one_out(volumes(), "ball")
        assert [row["volume"] for row in rows] == ["volume 0", "volume 1", "volume 2"]
        assert all(float(str(row["dice"])) > 0.95 for row in rows)
        assert all(float(str(row["auroc"])) > 0.99 for row in rows)

    def test_noise_is_not(self) -> None:
        assert all(float(str(row["dice"])) < 0.3 for row in leave_one_out(volumes(signal=0.0), "ball"))

    def test_a_probe_never_sees_the_volume_it_outlines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[list[str]] = []
        fitted = voxel_probe.fit

        def fit_and_tell(given: list[ProbedVolume], structure: str, options: VoxelProbeOptions) -> LinearProbe:
            seen.append([each.name for each in given])
            return fitted(given, structure, options)

        monkeypatch.setattr(voxel_probe, "fit", fit_and_tell)
        rows = leave_one_out(volumes(), "ball")
        assert seen == [row["fitted_on"] for row in rows]
        assert all(row["volume"] not in names for row, names in zip(rows, seen, strict=True))

    def test_labels_of_the_volume_left_out_change_no_logit(self) -> None:
        first, *others = volumes()
        options = VoxelProbeOptions()
        probe = fit(others, "ball", options)
        wrong = dataclasses.replace(first, masks={"ball": ~first.masks["ball"]})
        assert np.array_equal(logits_of(probe, first), logits_of(probe, wrong))
        (right, *_), (upside_down, *_) = (
            leave_one_out([volume, *others], "ball", options) for volume in (first, wrong)
        )
        assert float(str(right["dice"])) > 0.95
        assert float(str(upside_down["dice"])) < 0.2
        assert float(str(right["auroc"])) == pytest.approx(1 - float(str(upside_down["auroc"])), abs=1e-4)

    def test_one_volume_is_too_few(self) -> None:
        with pytest.raises(ValueError, match='needs two with "ball", got 1'):
            leave_one_out(volumes()[:1], "ball")

    def test_the_same_seed_is_the_same_probe(self) -> None:
        few = VoxelProbeOptions(voxels=50)
        first, again = fit(volumes(), "ball", few), fit(volumes(), "ball", few)
        other = fit(volumes(), "ball", dataclasses.replace(few, seed=1))
        assert np.array_equal(first.weights, again.weights)
        assert not np.array_equal(first.weights, other.weights)


def test_logits_of_maps_are_those_of_interpolated_features() -> None:
    """The probe is linear and so is interpolation: both orders give the same, at every voxel and for many levels."""
    generator = torch.Generator().manual_seed(0)
    maps = tuple(
        torch.randn(channels, size, size + 1, size + 2, generator=generator) for channels, size in ((3, 8), (5, 2))
    )
    given = ProbedVolume(name="", maps=maps, positions=(centres(9), centres(7), centres(5)), masks={})
    probe = LinearProbe(weights=np.arange(8.0) - 3, bias=0.5, threshold=0.0)
    everything = np.arange(9 * 7 * 5)
    expected = sample(given, everything) @ probe.weights + probe.bias
    assert np.allclose(logits_of(probe, given).ravel(), expected, atol=1e-4)
    assert np.allclose(logits_at(probe, given, everything[::7]), expected[::7], atol=1e-4)


def test_the_threshold_is_that_of_the_best_dice() -> None:
    inside, outside = np.array([3.0, 4.0], dtype=np.float32), np.array([0.0, 1.0, 2.0, 3.5], dtype=np.float32)
    assert 2 < best_threshold([(True, inside, 1.0), (False, outside, 1.0)]) <= 3
    # Each voxel outside stands for a hundred: one false alarm costs more than one voxel that is missed.
    assert 3.5 < best_threshold([(True, inside, 1.0), (False, outside, 100.0)]) <= 4


def test_voxels_are_found_where_they_lie() -> None:
    grid = VolumeGeometry(shape=(16, 16, 16), affine=np.diag([4.0, 4.0, 4.0, 1.0]))
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [-1.0, 7.0, 3.0]
    x, y, _ = positions(VolumeGeometry(shape=(8, 8, 8), affine=affine), grid)
    assert x[0] == pytest.approx(2 * (-0.25 + 0.5) / 16 - 1)
    assert y[1] == pytest.approx(2 * (9 / 4 + 0.5) / 16 - 1)


class TestRealVolumes:
    def test_intensity_finds_where_the_scan_is_bright(self, shared_data: Path) -> None:
        """The features of a voxel are those of its own place: its intensity comes back at its own index."""
        case = next(case for case in CASES if case.image.endswith("imlab_id001_ct.nii.gz"))
        volume = read_volume(shared_data / case.image).reoriented("RAS")
        spacing = tuple(float(value) for value in volume.spacing)
        found = probed(shared_data, case, Intensity(), spacing_mm=spacing, window_hu=WINDOW)  # type: ignore[arg-type]
        voxels = np.random.default_rng(0).choice(volume.voxels.size, 500, replace=False)
        expected = np.clip(volume.voxels.ravel()[voxels], *WINDOW) / 1000
        assert np.corrcoef(sample(found, voxels)[:, 0], expected)[0, 1] > 0.99
        assert found.masks["Lungs"].shape == volume.shape

    def test_lesions_are_there(self, shared_data: Path) -> None:
        torch.manual_seed(0)
        encoder = build_encoder(SMALL_RESNET)
        case = next(case for case in CASES if case.image.endswith("LIDC-IDRI-0002_ct.nii.gz"))
        found = probed(shared_data, case, encoder, spacing_mm=(4.0, 4.0, 4.0), window_hu=WINDOW)
        assert [len(level) for level in found.maps] == list(encoder.channels)
        assert 100 < found.masks[LESION].sum() < 20_000

    def test_a_mask_of_another_grid_is_refused(self, shared_data: Path) -> None:
        first, second = (case for case in CASES if "lidc" in case.image)
        wrong = dataclasses.replace(first, mask=second.mask)
        with pytest.raises(InputError, match="Resample the mask first"):
            probed(shared_data, wrong, Intensity(), spacing_mm=(8.0, 8.0, 8.0), window_hu=WINDOW)
