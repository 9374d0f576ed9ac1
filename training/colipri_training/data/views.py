"""Sub-volumes of a scan: where they lie, read straight from the chunks of a prepared volume, at its own resolution.

What is read and computed depends on the size and the number of the sub-volumes, never on that of the scan: places are
drawn from the volume's record, and only the boxes that are looked at are read from disk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from colipri_training.data.corruption import Corruption
from colipri_training.data.corruption import corrupt
from colipri_training.data.prepared import Record
from colipri_training.data.variation import Change
from colipri_training.data.variation import ReadBox
from colipri_training.data.variation import Reading
from colipri_training.data.variation import Variation
from colipri_training.data.variation import draw
from colipri_training.data.variation import in_body

Box = tuple[int, int, int]

_CORRUPTION = 1 << 20
"""Stream of randomness of the corruption; the numbers of sub-volumes are those below."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Views:
    """Which sub-volumes a scan is seen by; all values are our choice.

    Args:
        count: Sub-volumes of a scan.
        overlap: Least share of a sub-volume that it has in common with the first one; 0 draws all independently.
        foreground: Share of a sub-volume's voxels that should be denser than `foreground_hu`; of several places that
            are tried, the first with so many is taken, or the one with most.
        foreground_hu: What counts as foreground: soft tissue, vessels and consolidated lung, but no air.
        tries: Places that are tried.
    """

    count: int = 2
    overlap: float = 0.0
    foreground: float = 0.3
    foreground_hu: float = -500.0
    tries: int = 4

    def __post_init__(self) -> None:
        """Refuse what no scan can have."""
        if self.count < 1 or self.tries < 1:
            msg = f"count and tries must be at least 1, got {self.count} and {self.tries}"
            raise ValueError(msg)
        if not (0 <= self.overlap <= 1 and 0 <= self.foreground <= 1):
            msg = f"overlap and foreground must be shares between 0 and 1, got {self.overlap} and {self.foreground}"
            raise ValueError(msg)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubVolumes:
    """What is read of a scan.

    Args:
        views: Its sub-volumes.
        corruption: How the first of them is corrupted; None for not at all.
    """

    views: Views
    corruption: Corruption | None = None


def read_sub_volumes(
    read: ReadBox, render_view: Callable[[Change], Tensor], placed: Placed, wanted: SubVolumes, seed: list[int]
) -> Reading:
    """Read the sub-volumes of a scan and, last, what corruption made of the first one.

    Args:
        read: Reads a box of the volume.
        render_view: Reads and varies a sub-volume.
        placed: Where sub-volumes may lie.
        wanted: What to read.
        seed: Decides everything.

    Returns:
        (V, X, Y, Z) or (V + 1, X, Y, Z) in [-1, 1], and where they lie.
    """
    changes = draw_views(read, placed, wanted.views, seed)
    volumes = [render_view(change) for change in changes]
    if wanted.corruption is not None:
        changes.append(changes[0])
        volumes.append(corrupt(volumes[0], wanted.corruption, np.random.default_rng([*seed, _CORRUPTION])))
    centres = [in_body(placed.record, change.start, placed.size) for change in changes]
    return Reading(torch.stack(volumes), torch.tensor(centres))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placed:
    """Where sub-volumes of a scan may lie, and how they are varied.

    Args:
        record: The volume's.
        size: Voxels of a sub-volume.
        variation: None of them is mirrored, for the report names sides.
    """

    record: Record
    size: Box
    variation: Variation


def draw_views(read: ReadBox, placed: Placed, views: Views, seed: list[int]) -> list[Change]:
    """Draw the sub-volumes of a scan.

    Args:
        read: Reads a box of the volume; called at most `tries` times a sub-volume.
        placed: Where they may lie.
        views: How many, and which places are good ones.
        seed: Decides everything.
    """
    record, size, variation = placed.record, placed.size, placed.variation
    changes: list[Change] = []
    for number in range(views.count):
        tried = []
        for attempt in range(views.tries):
            change = draw(record, size, variation, [*seed, number, attempt], may_mirror=False)
            if changes and views.overlap:
                change = dataclasses.replace(change, start=_near(changes[0].start, change.start, size, views.overlap))
            share = _foreground(read(change.start, size), views) if views.foreground else 1.0
            tried.append((share, change))
            if share >= views.foreground:
                break
        changes.append(tried[-1][1] if share >= views.foreground else max(tried, key=lambda pair: pair[0])[1])
    return changes


def _near(first: Box, other: Box, size: Box, overlap: float) -> Box:
    """Move a sub-volume towards the first one along the line between them until they overlap enough."""
    offset = np.subtract(other, first)

    def shared(way: float) -> float:
        moved = np.rint(way * offset)
        return float(np.prod(np.clip(1 - np.abs(moved) / size, 0, 1)))

    # The share only falls along the way, so the furthest place that is near enough is found by halving.
    near, far = 0.0, 1.0
    if shared(far) >= overlap:
        return other
    for _ in range(12):
        middle = (near + far) / 2
        near, far = (middle, far) if shared(middle) >= overlap else (near, middle)
    x, y, z = (int(value) for value in np.asarray(first) + np.rint(near * offset))
    return x, y, z


def _foreground(hu: npt.NDArray[np.int16], views: Views) -> float:
    return float((hu > views.foreground_hu).mean())
