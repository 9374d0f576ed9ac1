"""Real CT with masks as `voxel_probe` reads them: features of a frozen encoder over the whole scan, and its masks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch import nn

from colipri_core.errors import InputError
from colipri_core.geometry import VolumeGeometry
from colipri_core.io import read_volume
from colipri_core.preprocess import model_grid
from colipri_core.preprocess import prepare
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_training.evaluation.overlap import Mask
from colipri_training.evaluation.real_structures import REAL_CASES
from colipri_training.evaluation.real_structures import RealCase
from colipri_training.evaluation.real_structures import Target
from colipri_training.evaluation.real_structures import read_mask
from colipri_training.evaluation.voxel_probe import ProbedVolume

LESION = "Lung lesion"
STRUCTURES = ("Lungs", "Aorta", "Spine", "Liver", "Spleen", "Stomach", LESION)
"""What at least two of the volumes show."""

_HALF_OF_THE_READERS = (2, 3, 4)
_LESIONS = (
    RealCase(
        image="lidc/LIDC-IDRI-0001_ct.nii.gz",
        mask="lidc/LIDC-IDRI-0001_nodule_votes.nii.gz",
        targets=(Target(name=LESION, labels=_HALF_OF_THE_READERS, structures=()),),
    ),
    RealCase(
        image="lidc/LIDC-IDRI-0002_ct.nii.gz",
        mask="lidc/LIDC-IDRI-0002_nodule_votes.nii.gz",
        targets=(Target(name=LESION, labels=_HALF_OF_THE_READERS, structures=()),),
    ),
    RealCase(
        image="pyradiomics/lung1_image.nrrd",
        mask="pyradiomics/lung1_label.nrrd",
        targets=(Target(name=LESION, labels=(), structures=()),),
    ),
)
CASES: tuple[RealCase, ...] = (*REAL_CASES, *_LESIONS)
"""Lungs and organs, and nodules and a tumour as one structure: each kind of lesion alone has too few volumes."""


def probed(
    data: Path,
    case: RealCase,
    encoder: nn.Module,
    *,
    spacing_mm: tuple[float, float, float],
    window_hu: tuple[float, float],
) -> ProbedVolume:
    """Encode a whole scan at the encoder's spacing, and read its masks.

    Args:
        data: Folder of the real volumes.
        case: Image and mask.
        encoder: A `DenseEncoder`, on any device.
        spacing_mm: Voxel size that it works at.
        window_hu: Intensities that it maps to [-1, 1].

    Raises:
        InputError: If image and mask are not on the same grid.
    """
    volume = read_volume(data / case.image).reoriented("RAS")
    mask = read_mask(data / case.mask)
    if mask.shape != volume.shape:
        msg = f"Expected a mask of shape {volume.shape} for {case.image}, got {mask.shape}. Resample the mask first."
        raise InputError(msg)
    spec = PreprocessSpec(spacing_mm=spacing_mm, intensity_window=window_hu)
    spec = dataclasses.replace(spec, size=_padded(model_grid(volume.geometry, spec).resampled.shape, _stride(encoder)))
    prepared = prepare(volume, spec)
    return ProbedVolume(
        name=case.image,
        maps=encode(encoder, torch.from_numpy(prepared.array)),
        positions=positions(volume.geometry, prepared.geometry),
        masks={target.name: _mask(mask.voxels, target) for target in case.targets if target.name in STRUCTURES},
    )


@torch.inference_mode()
def encode(encoder: nn.Module, image_XYZ: Tensor) -> tuple[Tensor, ...]:
    """Feature maps (C, x, y, z) of a whole volume in one pass, on the CPU."""
    encoder.eval()
    device = next((value.device for value in encoder.parameters()), torch.device("cpu"))
    maps = encoder(rearrange(image_XYZ, "x y z -> 1 1 x y z").to(device))
    return tuple(level[0].float().cpu().clone() for level in maps)


def positions(volume: VolumeGeometry, grid: VolumeGeometry) -> tuple[Tensor, Tensor, Tensor]:
    """Where the voxels of a volume lie in a model grid along the same axes, as `ProbedVolume.positions`."""
    change = np.linalg.inv(grid.affine) @ volume.affine
    axes = (
        2 * (change[axis, axis] * np.arange(size) + change[axis, 3] + 0.5) / grid.shape[axis] - 1
        for axis, size in enumerate(volume.shape)
    )
    x, y, z = (torch.from_numpy(axis).float() for axis in axes)
    return x, y, z


def _padded(shape: Sequence[int], stride: int) -> tuple[int, int, int]:
    x, y, z = (stride * math.ceil(size / stride) for size in shape)
    return x, y, z


def _stride(encoder: nn.Module) -> int:
    strides = getattr(encoder, "strides", None)
    assert isinstance(strides, tuple), "encoders say their strides"
    return int(strides[-1])


def _mask(labels: np.ndarray, target: Target) -> Mask:
    return np.isin(labels, target.labels) if target.labels else labels > 0


class Intensity(nn.Module):
    """No encoder at all: the volume itself, and its means over cubes of 4 and 16 voxels, as a floor to compare with."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = (1, 1, 1)
        self.strides = (1, 4, 16)

    def forward(self, images_B1XYZ: Tensor) -> list[Tensor]:
        """Return the three maps."""
        return [images_B1XYZ, *(nn.functional.avg_pool3d(images_B1XYZ, edge) for edge in self.strides[1:])]
