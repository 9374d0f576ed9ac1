"""A segmenter for tests: region growing in HU from the positive prompts, away from the negative ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.prompts import Crop
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.prompts import Position
from colipri_core.prompts import Prompt
from colipri_core.prompts import prompt_mask
from colipri_core.provenance import ModelCard
from colipri_core.volume import Volume

CARD = ModelCard(
    name="grower",
    sha256="9e0f" + "0" * 60,
    kind="clicks",
    training_data="nothing: it grows regions.",
    synthetic=True,
    licence="Apache-2.0",
)
_STEPS = 5


class Grower:
    """Grows from the seeds over connected voxels of like HU within a reach.

    Args:
        tolerance_hu: How far from the seeds' mean the HU may lie.
        reach_mm: How far from a seed a voxel may lie.
    """

    card = CARD

    def __init__(self, *, tolerance_hu: float = 150.0, reach_mm: float = 40.0) -> None:
        self.tolerance_hu = tolerance_hu
        self.reach_mm = reach_mm
        self.asked: list[tuple[tuple[Prompt, ...], Crop | None, Position | None]] = []

    def propose(
        self,
        volume: Volume,
        prompts: Sequence[Prompt],
        *,
        previous: Crop | None,
        seen_at: Position | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Crop:
        self.asked.append((tuple(prompts), previous, seen_at))
        report = Reporter(progress, cancel)
        for step in range(_STEPS):
            report(step / _STEPS, "Growing")
        wanted, unwanted = np.zeros(volume.shape, dtype=bool), np.zeros(volume.shape, dtype=bool)
        for prompt in (Point(ras=seen_at), *prompts) if seen_at else prompts:
            if not isinstance(prompt, Phrase):
                crop = prompt_mask(prompt, volume.geometry)
                (wanted if prompt.positive else unwanted)[crop.box] |= crop.mask
        if not wanted.any():
            return Crop.empty()
        mean = float(volume.voxels[wanted].mean())
        alike = np.abs(volume.voxels.astype(np.float32) - mean) <= self.tolerance_hu
        near = ndimage.distance_transform_edt(~wanted, sampling=volume.spacing) <= self.reach_mm
        far = ndimage.distance_transform_edt(~unwanted, sampling=volume.spacing) > 10.0 if unwanted.any() else True
        return Crop.around(ndimage.binary_propagation(wanted & far, mask=(alike & near & far) | (wanted & far)))
