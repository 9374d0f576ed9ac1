"""What is segmented and classified in phantoms: organs from the structure labelmap, lesions from the finding bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.phantoms import structures
from colipri_training.phantoms.lesions import base


@dataclass(frozen=True, kw_only=True)
class Target:
    """One class of a segmentation.

    Attributes:
        name: Its name in configs and tables.
        group: "organ" or "lesion"; tables average within groups.
        labels: Structure labels that make it up; empty for a finding.
        finding: Index of the finding whose mask it is; None for an organ.
    """

    name: str
    group: str
    labels: tuple[int, ...] = ()
    finding: int | None = None


def _lesion(finding: int) -> Target:
    return Target(name=CT_RATE_FINDINGS[finding], group="lesion", finding=finding)


_ALL = (
    Target(name="Lungs", group="organ", labels=structures.LUNG_LOBES),
    Target(name="Heart", group="organ", labels=(structures.HEART,)),
    Target(name="Aorta", group="organ", labels=(structures.AORTA,)),
    Target(name="Pulmonary artery", group="organ", labels=(structures.PULMONARY_ARTERY,)),
    Target(name="Airways", group="organ", labels=(structures.AIRWAYS,)),
    Target(name="Oesophagus", group="organ", labels=(structures.OESOPHAGUS,)),
    Target(name="Spine", group="organ", labels=(structures.SPINE,)),
    Target(name="Liver", group="organ", labels=(structures.LIVER,)),
    _lesion(base.CONSOLIDATION),
    _lesion(base.LYMPHADENOPATHY),
    _lesion(base.CORONARY_CALCIFICATION),
    _lesion(base.ARTERIAL_CALCIFICATION),
    _lesion(base.LUNG_NODULE),
)
TARGETS: dict[str, Target] = {target.name: target for target in _ALL}
"""All targets by name, organs first. Where two overlap, the later one has the voxel: lesions lie over organs."""

ORGANS = tuple(name for name, target in TARGETS.items() if target.group == "organ")
SMALL_LESIONS = tuple(CT_RATE_FINDINGS[index] for index in (base.LYMPHADENOPATHY, base.LUNG_NODULE))
"""Lesions of 5 to 30 mm that reports name with size and place."""


def targets_of(names: Sequence[str]) -> tuple[Target, ...]:
    """Return targets by name, in the order in which they are painted.

    Raises:
        ValueError: If a name is unknown, or none is given; the message lists what there is.
    """
    unknown = sorted(set(names) - set(TARGETS))
    if unknown or not names:
        msg = f"Expected some of the targets {', '.join(TARGETS)}, got {', '.join(unknown) or 'none'}."
        raise ValueError(msg)
    return tuple(target for name, target in TARGETS.items() if name in names)


def labelmap(
    labels: npt.NDArray[np.uint8], lesions: npt.NDArray[np.int32], targets: Sequence[Target]
) -> npt.NDArray[np.uint8]:
    """Paint targets: label n is target n - 1, 0 is everything else.

    Args:
        labels: (X, Y, Z) structure labelmap of a phantom.
        lesions: (X, Y, Z), bit f set where finding f is.
        targets: What to paint, in order.
    """
    table = np.zeros(len(structures.STRUCTURES), dtype=np.uint8)
    for value, target in enumerate(targets, start=1):
        table[list(target.labels)] = value
    painted = table[labels]
    for value, target in enumerate(targets, start=1):
        if target.finding is not None:
            painted[(lesions >> target.finding) & 1 == 1] = value
    return painted
