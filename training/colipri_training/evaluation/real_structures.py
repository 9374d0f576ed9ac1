"""Dice and NSD of outlined structures on real CT with masks, which no model of this project was trained on."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from colipri_core.engine import Engine
from colipri_core.errors import VolumeWarning
from colipri_core.geometry import reorient_array
from colipri_core.io import read_volume
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume
from colipri_training.evaluation.errors import NoCasesError
from colipri_training.evaluation.overlap import dice
from colipri_training.evaluation.overlap import surface_dice

LUNGS = (
    "Left upper lung lobe",
    "Left lower lung lobe",
    "Right upper lung lobe",
    "Right middle lung lobe",
    "Right lower lung lobe",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A structure of a reference mask and the outlined structures it stands for.

    Args:
        name: Name of the row.
        labels: Labels of the mask that make up the structure; empty for every label above zero.
        structures: Names of the outlined structures, joined.
    """

    name: str
    labels: tuple[int, ...]
    structures: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RealCase:
    """A CT and its mask, relative to the data folder."""

    image: str
    mask: str
    targets: tuple[Target, ...]


_BOTH_LUNGS = Target(name="Lungs", labels=(), structures=LUNGS)
# Labels of TotalSegmentator version 2 (Wasserthal et al., 2023).
_TOTAL = (
    Target(name="Lungs", labels=(10, 11, 12, 13, 14), structures=LUNGS),
    Target(name="Left lung", labels=(10, 11), structures=LUNGS[:2]),
    Target(name="Right lung", labels=(12, 13, 14), structures=LUNGS[2:]),
    *(Target(name=name, labels=(10 + index,), structures=(name,)) for index, name in enumerate(LUNGS)),
    Target(name="Heart", labels=(51,), structures=("Heart",)),
    Target(name="Aorta", labels=(52,), structures=("Aorta",)),
    Target(name="Spine", labels=tuple(range(26, 51)), structures=("Spine",)),
    Target(name="Liver", labels=(5,), structures=("Liver",)),
    Target(name="Spleen", labels=(1,), structures=("Spleen",)),
    Target(name="Stomach", labels=(6,), structures=("Stomach",)),
)
REAL_CASES: tuple[RealCase, ...] = (
    *(
        RealCase(
            image=f"lung_masks/imlab_id00{number}_ct.nii.gz",
            mask=f"lung_masks/imlab_id00{number}_lung.nii.gz",
            targets=(_BOTH_LUNGS,),
        )
        for number in (1, 2, 3)
    ),
    RealCase(image="cip/ct-64.nrrd", mask="cip/wholeLung-64.nrrd", targets=(_BOTH_LUNGS,)),
    RealCase(image="totalseg/example_ct.nii.gz", mask="totalseg/example_seg_fast_force_split.nii.gz", targets=_TOTAL),
    RealCase(image="dicom/example_ct_dicom", mask="dicom/example_seg_dicom.nii.gz", targets=_TOTAL),
)


def real_cases(data: Path) -> tuple[RealCase, ...]:
    """Return the cases whose image and mask are in a folder.

    Raises:
        NoCasesError: If none are.
    """
    found = tuple(case for case in REAL_CASES if (data / case.image).exists() and (data / case.mask).exists())
    if not found:
        msg = f'Expected real volumes with masks in "{data.name}", such as {REAL_CASES[0].image}, found none.'
        raise NoCasesError(msg)
    return found


def evaluate(engine: Engine, data: Path) -> Iterator[dict[str, object]]:
    """Yield a row for every structure that a mask can check, with Dice and NSD.

    Args:
        engine: The model, with a structure head.
        data: Folder of the real volumes.
    """
    for case in real_cases(data):
        with engine.open(read_volume(data / case.image)) as session:
            outlined = session.segment()
        mask = read_mask(data / case.mask)
        for target in case.targets:
            reference = np.isin(mask.voxels, target.labels) if target.labels else mask.voxels > 0
            if reference.any():
                found = _joined(outlined, target.structures)
                spacing = mask.geometry.spacing
                row = {
                    "dice": round(dice(found, reference), 5),
                    "nsd": round(surface_dice(found, reference, spacing), 5),
                }
                yield {"image": case.image, "structure": target.name, **row}


def read_mask(path: Path) -> Volume:
    """Read a mask, its axes brought to RAS+."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VolumeWarning)  # a mask is not in Hounsfield units
        return read_volume(path).reoriented("RAS")


def _joined(outlined: Segmentation, structures: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    labels = [outlined.segment(name).label for name in structures]
    found = np.isin(outlined.labelmap, labels)
    return reorient_array(found, outlined.geometry.orientation, "RAS").astype(bool)
