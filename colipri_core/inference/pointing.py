"""From prompts to what the click network reads, and from its answer to a mask that keeps every prompt's word.

A prompt is honoured to the voxel: what a positive point, stroke or lasso covers is in the mask, what a negative one
covers is not, and where two disagree the later one counts. A positive box bounds the object as long as nothing
positive was placed outside of it; a flat box, drawn in one slice, bounds it in that slice.

What the network is told of a positive box is our choice. A flat one, which is how boxes are drawn, stands for one as
thick as its shorter side is long, half of it on either side of its slice: of a slab of one cell the network makes
nothing. While boxes are all that says where the object is, the middle of each counts as a click; it is a hint, not a
promise, for the middle of a box around a bent object may lie outside the object.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import SimpleITK

from colipri_core.geometry import Points
from colipri_core.geometry import VolumeGeometry
from colipri_core.model.click_hints import CERTAIN
from colipri_core.model.click_hints import HINTS
from colipri_core.model.click_hints import Hint
from colipri_core.model.click_hints import empty_hints
from colipri_core.model.click_hints import paint_box
from colipri_core.model.click_hints import paint_point
from colipri_core.model.click_hints import place
from colipri_core.model.click_hints import smoothed
from colipri_core.prompts import Box
from colipri_core.prompts import Crop
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.prompts import Position
from colipri_core.prompts import Prompt
from colipri_core.prompts import SpatialPrompt
from colipri_core.prompts import prompt_mask
from colipri_core.prompts.regions import CellMask
from colipri_core.prompts.regions import Cells
from colipri_core.prompts.regions import Region
from colipri_core.prompts.regions import changed

_PREVIOUS, _POSITIVE, _BOX = (HINTS.index(name) for name in ("previous", "positive", "box"))


def spatial_prompts(prompts: Sequence[Prompt], seen_at: Position | None) -> list[SpatialPrompt]:
    """Return the prompts that have a place; a phrase alone becomes a click where it is seen best.

    Args:
        prompts: Oldest first.
        seen_at: Where the phrase is seen, RAS+ mm.
    """
    placed: list[SpatialPrompt] = [prompt for prompt in prompts if not isinstance(prompt, Phrase)]
    if seen_at is not None and not any(prompt.positive for prompt in placed):
        placed.insert(0, Point(ras=seen_at))
    return placed


def hints_of(
    prompts: Sequence[SpatialPrompt], region: Region, view: VolumeGeometry, *, hu: Cells, previous: CellMask
) -> Hint:
    """Return the maps (H, X, Y, Z) that the network reads; prompts outside the region say nothing.

    Args:
        prompts: Oldest first.
        region: Where the network looks.
        view: The view's geometry.
        hu: Intensities of the cells.
        previous: Cells of the mask as it stands.
    """
    smooth = smoothed(hu)
    hints = empty_hints(region.size)
    hints[_PREVIOUS] = previous
    cells = region.geometry(view)
    only_boxes = all(isinstance(prompt, Box) for prompt in prompts if prompt.positive)
    for prompt in prompts:
        mark = np.zeros_like(hints[_PREVIOUS])
        if isinstance(prompt, Box) and prompt.positive:
            _paint_bound(hints[_BOX], prompt, region, view)
            if not only_boxes:
                continue
            paint_point(mark, _middle(prompt, region, view))
        else:
            _paint(mark, prompt, region, view, cells)
        place(hints, mark, smooth, positive=prompt.positive)
    return hints


def _paint(mark: Hint, prompt: SpatialPrompt, region: Region, view: VolumeGeometry, cells: VolumeGeometry) -> None:
    if isinstance(prompt, Point):
        paint_point(mark, region.to_cells(view.world_to_index(prompt.ras)).tolist())
        return
    covered = covered_by(prompt, cells)
    if not covered.is_empty:
        mark[covered.box][covered.mask] = 1.0


def _paint_bound(hint: Hint, box: Box, region: Region, view: VolumeGeometry) -> None:
    """Add a positive box to its map, along an axis where it is one voxel thick as far as its shorter side is long."""
    covered = covered_by(box, region.geometry(view))
    if covered.is_empty:
        return
    lower, upper = list(covered.lower), list(covered.upper)
    voxels = np.array(covered_by(box, view).mask.shape)
    sides, middle = voxels / np.asarray(region.step), _middle(box, region, view)
    for axis in np.flatnonzero(voxels == 1):
        half = np.delete(sides, axis).min() / 2
        lower[axis] = max(0, min(lower[axis], int(np.ceil(middle[axis] - half))))
        upper[axis] = min(region.size, max(upper[axis], int(np.floor(middle[axis] + half)) + 1))
    paint_box(hint, lower, upper)


def _middle(box: Box, region: Region, view: VolumeGeometry) -> list[float]:
    """Middle of what lies in the volume of a box, in cells."""
    middle: list[float] = region.to_cells(np.mean(extent([box], view), axis=0)).tolist()
    return middle


def covered_by(prompt: SpatialPrompt, geometry: VolumeGeometry) -> Crop:
    """Voxels of a grid that a prompt covers; none if it lies outside."""
    try:
        return prompt_mask(prompt, geometry)
    except ValueError:
        return Crop.empty()


def extent(prompts: Sequence[SpatialPrompt], view: VolumeGeometry) -> tuple[Points, Points]:
    """First and last position in the view that prompts cover.

    Args:
        prompts: At least one.
        view: The view's geometry.
    """
    corners = []
    for prompt in prompts:
        places = (prompt.lower_ras, prompt.upper_ras) if isinstance(prompt, Box) else prompt.ras
        corners.append(view.world_to_index(np.reshape(places, (-1, 3))))
    ends = np.clip(np.round(np.concatenate(corners), 3), 0, np.asarray(view.shape) - 1.0)
    return ends.min(axis=0), ends.max(axis=0)


def attached(mask: CellMask, hints: Hint) -> CellMask:
    """Return the connected parts of a mask that hold a positive prompt or part of the mask before; all if none does.

    Args:
        mask: Cells above a half.
        hints: What the network read.
    """
    numbered = _parts(mask)
    if numbered.max() < 2:
        return mask
    anchors = (hints[_POSITIVE] > CERTAIN) | (hints[_PREVIOUS] > CERTAIN)
    kept = np.unique(numbered[anchors & mask])
    return mask if not len(kept) else np.asarray(np.isin(numbered, kept))


def grown(cells: CellMask) -> CellMask:
    """Return cells and their neighbours."""
    image = SimpleITK.GetImageFromArray(cells.astype(np.uint8))
    return np.asarray(SimpleITK.GetArrayFromImage(SimpleITK.BinaryDilate(image, (1, 1, 1))) > 0)


def one_way(mask: Crop, current: Crop, newest: SpatialPrompt, view: VolumeGeometry) -> Crop:
    """Return a correction without what goes against its prompt: a positive one only adds, a negative one only removes.

    What a negative one removes hangs together with it. A positive box is a bound, which may do both.

    Args:
        mask: The mask as corrected.
        current: The mask before.
        newest: The prompt that it was corrected for.
        view: The view's geometry.
    """
    if newest.positive:
        return mask if isinstance(newest, Box) else changed(mask, current, value=True)
    gone = current.mask & ~mask.on_box(current.lower, current.upper)
    numbered = _parts(gone)
    own = np.unique(numbered[covered_by(newest, view).on_box(current.lower, current.upper) & gone])
    part = np.isin(numbered, own) if len(own) else gone
    return changed(current, Crop(lower=current.lower, mask=part), value=False)


def _parts(mask: CellMask) -> npt.NDArray[np.uint32]:
    """Connected parts of a mask, numbered from 1."""
    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    return np.asarray(SimpleITK.GetArrayFromImage(SimpleITK.ConnectedComponent(image, True)))


def honour(mask: Crop, prompts: Sequence[SpatialPrompt], view: VolumeGeometry) -> Crop:
    """Return the mask with every prompt kept, the later the more.

    Args:
        mask: In the view.
        prompts: Oldest first.
        view: The view's geometry.
    """
    mask = _bounded(mask, prompts, view)
    for prompt in prompts:
        if not (isinstance(prompt, Box) and prompt.positive):
            mask = changed(mask, covered_by(prompt, view), value=prompt.positive)
    return mask


def _bounded(mask: Crop, prompts: Sequence[SpatialPrompt], view: VolumeGeometry) -> Crop:
    boxes = [covered_by(p, view) for p in prompts if isinstance(p, Box) and p.positive]
    boxes = [box for box in boxes if not box.is_empty]
    places = [covered_by(p, view) for p in prompts if p.positive and not isinstance(p, Box)]
    if mask.is_empty or not boxes or any(_reaches_out(place, boxes) for place in places):
        return mask
    inside = np.zeros(mask.mask.shape, dtype=bool)
    bounded = np.zeros(mask.mask.shape, dtype=bool)
    for box in boxes:
        spans = list(zip(box.lower, box.upper, strict=True))
        # Along an axis where the box is one voxel thick it says nothing of the other slices.
        judged = [(a, b) if b - a == 1 else (0, size) for (a, b), size in zip(spans, view.shape, strict=True)]
        bounded[_cut(judged, mask)] = True
        inside[_cut(spans, mask)] = True
    return Crop.around(mask.mask & (inside | ~bounded), lower=mask.lower)


def _cut(spans: Sequence[tuple[int, int]], mask: Crop) -> tuple[slice, ...]:
    """Slices of a crop's array for a box of the view."""
    return tuple(
        slice(min(max(0, a - low), size), min(max(0, b - low), size))
        for (a, b), low, size in zip(spans, mask.lower, mask.mask.shape, strict=True)
    )


def _reaches_out(place: Crop, boxes: Sequence[Crop]) -> bool:
    return not any(
        all(a >= c and b <= d for a, b, c, d in zip(place.lower, place.upper, box.lower, box.upper, strict=True))
        for box in boxes
    )
