"""The real objects that are outlined by simulated clicks, in CTs no model of this project was trained on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Container
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from colipri_core.geometry import reorient_array
from colipri_core.io import read_volume
from colipri_core.io.labelmap import read_labelmap
from colipri_core.volume import Volume

SMALLEST_VOXELS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scan:
    """A CT with a mask, relative to the data folder, and what its labels are.

    Args:
        image: The CT.
        mask: Labelmap on the same grid.
        group: Group of the objects.
        objects: Name -> labels; every connected part that matters becomes an object of its own.
        votes: Count a voxel from this many votes on, in place of the labels.
        type_byte: The labels are the high byte of the values (the Chest Imaging Platform's type).
    """

    image: str
    mask: str
    group: str
    objects: dict[str, tuple[int, ...]]
    votes: int = 0
    type_byte: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """One object to outline."""

    name: str
    group: str
    volume: Volume
    mask: npt.NDArray[np.bool_]


_TOTAL = ("totalseg/example_ct.nii.gz", "totalseg/example_seg_fast_force_split.nii.gz")
_DICOM = ("dicom/example_ct_dicom", "dicom/example_seg_dicom.nii.gz")
# Label numbers of TotalSegmentator version 2 (Wasserthal et al., 2023).
SCANS = (
    Scan(
        image="lidc/LIDC-IDRI-0001_ct.nii.gz",
        mask="lidc/LIDC-IDRI-0001_nodule_votes.nii.gz",
        group="nodules",
        objects={"nodule": ()},
        votes=2,
    ),
    Scan(
        image="lidc/LIDC-IDRI-0002_ct.nii.gz",
        mask="lidc/LIDC-IDRI-0002_nodule_votes.nii.gz",
        group="nodules",
        objects={"nodule": ()},
        votes=2,
    ),
    Scan(
        image="pyradiomics/lung1_image.nrrd",
        mask="pyradiomics/lung1_label.nrrd",
        group="nodules",
        objects={"tumour": (1,)},
    ),
    Scan(
        image=_TOTAL[0],
        mask=_TOTAL[1],
        group="organs",
        objects={
            "spleen": (1,),
            "right kidney": (2,),
            "left kidney": (3,),
            "gallbladder": (4,),
            "liver": (5,),
            "stomach": (6,),
            "bladder": (21,),
        },
    ),
    Scan(image=_DICOM[0], mask=_DICOM[1], group="organs", objects={"spleen": (1,), "liver": (5,), "stomach": (6,)}),
    Scan(
        image=_TOTAL[0],
        mask=_TOTAL[1],
        group="bones",
        objects={"sacrum": (25,), "lumbar vertebra": (28,), "left hip": (77,), "left femur": (75,)},
    ),
    Scan(
        image=_TOTAL[0],
        mask=_TOTAL[1],
        group="vessels",
        objects={"aorta": (52,), "vena cava": (63,), "portal vein": (64,), "iliac artery": (65,), "iliac vein": (67,)},
    ),
    Scan(image=_DICOM[0], mask=_DICOM[1], group="vessels", objects={"aorta": (52,), "vena cava": (63,)}),
    Scan(
        image="totalseg/pulmonary/ct_cropped.nii.gz",
        mask="totalseg/pulmonary/pulmonary_artery.nii.gz",
        group="vessels",
        objects={"pulmonary artery": (1,)},
    ),
    Scan(image="cip/ct-64.nrrd", mask="cip/lm-64.nrrd", group="vessels", objects={"trachea": (2,)}, type_byte=True),
    *(
        Scan(
            image=f"lung_masks/imlab_id00{number}_ct.nii.gz",
            mask=f"lung_masks/imlab_id00{number}_lung.nii.gz",
            group="lungs",
            objects={"lung": ()},
            votes=1,
        )
        for number in (1, 2, 3)
    ),
    Scan(
        image="lung_masks/baseline_3DCT_lung.mha",
        mask="lung_masks/3DCT_lung_baseline_mask.mha",
        group="lungs",
        objects={"thorax cavity": ()},
        votes=1,
    ),
    Scan(image="cip/ct-64.nrrd", mask="cip/wholeLung-64.nrrd", group="lungs", objects={"lung": (1,)}),
)


def real_data() -> Path:
    """Folder of the real data: $COLIPRI_TEST_DATA, or ../shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("COLIPRI_TEST_DATA", beside))


def targets(data: Path, *, groups: Container[str] | None = None) -> Iterator[Target]:
    """Yield the objects, scan by scan.

    Args:
        data: Folder of the real data.
        groups: Only scans of these groups; None for all.
    """
    for scan in SCANS:
        if groups is not None and scan.group not in groups:
            continue
        volume = read_volume(data / scan.image)
        labels = _labels(data / scan.mask, volume)
        labels = labels >> 8 if scan.type_byte else labels
        for name, wanted in scan.objects.items():
            mask = labels >= scan.votes if scan.votes else np.isin(labels, wanted)
            for number, part in enumerate(_parts(mask), start=1):
                yield Target(name=f"{scan.image}: {name} {number}", group=scan.group, volume=volume, mask=part)


def _labels(path: Path, volume: Volume) -> npt.NDArray[Any]:
    mask = read_labelmap(path)
    axes = mask.geometry.orientation
    assert mask.geometry.shape == volume.reoriented(axes).shape, f"{path.name} and its CT differ in shape"
    return np.asarray(reorient_array(mask.labelmap, axes, volume.orientation)).astype(np.int32)


def _parts(mask: npt.NDArray[np.bool_]) -> Iterator[npt.NDArray[np.bool_]]:
    """Connected parts of at least 20 voxels and a tenth of the largest: a lung each, not the crumbs of a labelmap."""
    numbered, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    sizes = np.bincount(numbered.ravel())[1:] if count else np.zeros(0, dtype=int)
    for number, size in enumerate(sizes, start=1):
        if size >= max(SMALLEST_VOXELS, sizes.max() / 10):
            yield numbered == number
