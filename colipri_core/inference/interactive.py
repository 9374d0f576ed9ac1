"""ClickSegmenter: the shipped model behind clicks, scribbles, boxes and lassos.

The network looks at one cube of cells at a time. For a new object it begins with small cells around what was pointed
at, and looks at a larger cube while the answer leaves the cube, or no border of it is to be seen: all around it looks
like its inside. It looks once more at the cells that just fit the answer. A correction looks at the place of the
newest prompt with the mask as it stands, wider while the change leaves the cube, and alters only voxels where the
answer differs: what a hand drew elsewhere stays. The result is pasted onto the volume's own grid and every prompt is
kept. The scheme began as nnInteractive's automatic zoom (Isensee et al., 2025) at a size for CPUs; the figures are
our choice.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from colipri_core.inference.borders import seen_around
from colipri_core.inference.borders import to_air
from colipri_core.inference.devices import choose_device
from colipri_core.inference.devices import is_out_of_memory
from colipri_core.inference.pointing import attached
from colipri_core.inference.pointing import extent
from colipri_core.inference.pointing import grown
from colipri_core.inference.pointing import hints_of
from colipri_core.inference.pointing import honour
from colipri_core.inference.pointing import one_way
from colipri_core.inference.pointing import spatial_prompts
from colipri_core.model.click_bundle import ClickBundle
from colipri_core.model.click_bundle import load_click_bundle
from colipri_core.model.click_hints import HINTS
from colipri_core.model.hardware import has_fast_bfloat16
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.prompts import Crop
from colipri_core.prompts import Position
from colipri_core.prompts import Prompt
from colipri_core.prompts import SpatialPrompt
from colipri_core.prompts.regions import CellMask
from colipri_core.prompts.regions import Cells
from colipri_core.prompts.regions import Region
from colipri_core.prompts.regions import View
from colipri_core.prompts.regions import paste
from colipri_core.prompts.regions import region_around
from colipri_core.prompts.regions import replaced
from colipri_core.prompts.regions import sample_hu
from colipri_core.prompts.regions import sample_mask
from colipri_core.provenance import ModelCard
from colipri_core.volume import Volume

logger = logging.getLogger(__name__)

_INSIDE = 0.5
_ADDED = 0.75
"""Probability that cells have which the border to air adds (our choice)."""

_NEGATIVE = HINTS.index("negative")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClickSettings:
    """How the network's looks are laid. All figures are our choice.

    Attributes:
        first_mm: Cells of the first look at a new object; never smaller than the volume's finest spacing.
        finest_mm: Smallest cells.
        zoom: How much larger the cells of the next look are when no border is seen, or a correction leaves the region.
        step: How much larger they are when one is seen and the answer of a new object leaves the region.
        bounded: Share of what lies around an answer that must be unlike its inside for its border to be seen.
        looks: Most looks at a new object before the cells are fitted to it.
        fill: Share of a region's edge that the object it is fitted to takes up.
        leaving: Cells on a face of the region from which on the answer leaves it.
        keeps: Share of the volume of the closer answer that the wider one must have to be used.
        attached: Keep only the parts that a positive prompt or the mask before belongs to.
        local: After a wide correction, look closely at the newest prompt again.
        to_air: Borders to air lie where half of a cell is air.
        one_way: A correction goes the way its prompt points: what is not a positive box adds voxels if it is positive
            and removes them if it is negative, so that no click undoes what agrees with the clicks before.
        gives_up: Probability up to which a negative correction takes a cell away; what it is for is the leak, not all
            that looks like it.
    """

    first_mm: float = 1.0
    finest_mm: float = 0.6
    zoom: float = 2.0
    step: float = 1.4
    bounded: float = 0.5
    looks: int = 4
    fill: float = 0.7
    leaving: int = 6
    keeps: float = 0.8
    attached: bool = True
    local: bool = True
    to_air: bool = True
    one_way: bool = True
    gives_up: float = 0.3


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Look:
    """One answer of the network.

    Args:
        region: Where it looked.
        probabilities: Of its cells, 0 where a part was dropped.
        previous: Cells of the mask it was given.
        hu: Intensities of its cells.
    """

    region: Region
    probabilities: Cells
    previous: CellMask
    hu: Cells

    @property
    def inside(self) -> CellMask:
        """Cells of the answer."""
        return self.probabilities > _INSIDE

    @property
    def change(self) -> CellMask:
        """Cells where the answer differs from the mask before."""
        return self.inside ^ self.previous

    @property
    def volume_mm3(self) -> float:
        """Volume of the answer."""
        return float(self.inside.sum()) * self.region.spacing_mm**3

    @property
    def expected_dice(self) -> float:
        """Dice that the answer has in expectation if its probabilities are right: 2 sum pb / (sum p + sum b)."""
        total = float(self.probabilities.sum()) + float(self.inside.sum())
        return 2 * float(self.probabilities[self.inside].sum()) / total if total else 0.0

    @property
    def changed_mm3(self) -> float:
        """Volume of the change."""
        return float(self.change.sum()) * self.region.spacing_mm**3

    def leaves(self, cells: CellMask, shape: Sequence[int], least: int) -> bool:
        """Whether cells touch a face of the region behind which the volume goes on."""
        for axis, (lower, step, voxels) in enumerate(zip(self.region.lower, self.region.step, shape, strict=True)):
            upper = lower + step * (self.region.size - 1)
            for face, goes_on in ((0, lower - step > -0.5), (-1, upper + step < voxels - 0.5)):
                if goes_on and int(cells.take(face, axis=axis).sum()) >= least:
                    return True
        return False


class ClickSegmenter:
    """A `Segmenter`: proposes the mask of what a user points at.

    Args:
        bundle: The loaded model.
        device: Where it runs; the bundle's network is moved there.
        settings: How its looks are laid.
    """

    def __init__(
        self, bundle: ClickBundle, *, device: torch.device | None = None, settings: ClickSettings | None = None
    ) -> None:
        self.settings = settings or ClickSettings()
        self._bundle = bundle
        self._network = bundle.network.eval().requires_grad_(False)
        self._place(device or torch.device("cpu"))

    @property
    def card(self) -> ModelCard:
        """Identity of the model."""
        return self._bundle.card

    @property
    def device(self) -> str:
        """Device the model runs on, such as "cpu"."""
        return str(self._device)

    def warm_up(self) -> None:
        """Run the network once, so that the first click is as fast as the others."""
        size = self._bundle.spec.region
        self._run(np.zeros((size,) * 3, dtype=np.float32), np.zeros((len(HINTS), size, size, size), dtype=np.float32))

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
        """Return the whole mask of the object that is being edited.

        Args:
            volume: The CT.
            prompts: All prompts of the object since it was last empty or reset, oldest first.
            previous: The object's mask as it stands; None if it has no voxel.
            seen_at: Where the phrase among the prompts is seen, RAS+ mm; a click, if nothing positive was placed.
            progress: Receives (fraction, message) before each look.
            cancel: Looked at before each look.

        Returns:
            The mask on the volume's own grid; as it was if nothing was pointed at.

        Raises:
            Cancelled: If `cancel` was set.
        """
        report = Reporter(progress, cancel)
        view = View.of(volume)
        placed = spatial_prompts(prompts, seen_at)
        current = Crop.empty() if previous is None else view.into(previous)
        if not current.is_empty and placed:
            mask = self._correct(view, placed, current, report)
            if self.settings.one_way:
                mask = one_way(mask, current, placed[-1], view.geometry)
        elif any(prompt.positive for prompt in placed):
            mask = self._outline(view, placed, report)
        else:
            return Crop.empty() if previous is None else previous
        result = view.back(honour(mask, placed, view.geometry))
        report(1.0, "Outlined")
        return result

    def _outline(self, view: View, prompts: Sequence[SpatialPrompt], report: Reporter) -> Crop:
        """Outline a new object: wider and wider looks, then one that fits."""
        settings = self.settings
        lower, upper = extent([prompt for prompt in prompts if prompt.positive], view.geometry)
        spacing = max(self._finest(view), settings.first_mm, self._fitting(view, lower, upper))
        best, most = None, -1.0
        for number in range(settings.looks):
            report(number / (settings.looks + 1), "Outlining")
            look = self._look(view, self._region(view, (lower + upper) / 2, spacing), prompts, Crop.empty())
            seen = seen_around(look.inside, look.hu)
            leaves = look.leaves(look.inside, view.geometry.shape, settings.leaving)
            if seen >= settings.bounded and not leaves:
                best = look
                break
            if seen * look.expected_dice > most:
                best, most = look, seen * look.expected_dice
            spacing *= settings.zoom if seen < settings.bounded else settings.step
        assert best is not None, "there is at least one look"
        report(settings.looks / (settings.looks + 1), "Refining the border")
        return self._fitted(view, best, prompts)

    def _fitted(self, view: View, look: _Look, prompts: Sequence[SpatialPrompt]) -> Crop:
        """Look again with the cells that fit an answer, if they are smaller; returns the mask."""
        mask = paste(look.probabilities, look.region, view.geometry)
        if mask.is_empty:
            return mask
        lower, upper = np.asarray(mask.lower, dtype=np.float64), np.asarray(mask.upper) - 1.0
        spacing = self._fitting(view, lower, upper)
        if spacing > self.settings.keeps * look.region.spacing_mm:
            return mask
        closer = self._look(view, self._region(view, (lower + upper) / 2, spacing), prompts, mask)
        if closer.volume_mm3 == 0:
            return mask
        return paste(closer.probabilities, closer.region, view.geometry)

    def _correct(self, view: View, prompts: Sequence[SpatialPrompt], current: Crop, report: Reporter) -> Crop:
        """Look at the place of the newest prompt, wider while the change leaves it; change nothing elsewhere."""
        settings = self.settings
        lower, upper = extent(prompts[-1:], view.geometry)
        whole_lower = np.minimum(lower, current.lower)
        whole_upper = np.maximum(upper, np.asarray(current.upper) - 1.0)
        whole = self._fitting(view, whole_lower, whole_upper)
        closest = max(self._finest(view), settings.first_mm, self._fitting(view, lower, upper))
        spacing = closest
        if whole <= settings.zoom * closest:
            lower, upper, spacing = whole_lower, whole_upper, whole
        kept: _Look | None = None
        for number in range(settings.looks):
            report(number / (settings.looks + 1), "Correcting")
            look = self._look(view, self._region(view, (lower + upper) / 2, spacing), prompts, current)
            if kept is not None and look.changed_mm3 < settings.keeps * kept.changed_mm3:
                break
            kept = look
            if spacing >= whole or not look.leaves(look.change, view.geometry.shape, settings.leaving):
                break
            spacing = min(settings.zoom * spacing, whole)
        assert kept is not None, "there is at least one look"
        mask = self._apply(view, current, kept)
        if settings.local and kept.region.spacing_mm > settings.zoom * closest:
            report(settings.looks / (settings.looks + 1), "Refining the border")
            low, high = extent(prompts[-1:], view.geometry)
            mask = self._apply(
                view, mask, self._look(view, self._region(view, (low + high) / 2, closest), prompts, mask)
            )
        return mask

    def _apply(self, view: View, mask: Crop, look: _Look) -> Crop:
        """Take an answer over where it differs from the mask; every other voxel stays as it is."""
        place = paste(grown(look.change).astype(np.float32), look.region, view.geometry)
        answer = paste(look.probabilities, look.region, view.geometry)
        return replaced(mask, answer, place)

    def _look(self, view: View, region: Region, prompts: Sequence[SpatialPrompt], mask: Crop) -> _Look:
        previous = sample_mask(mask, region, view.geometry.shape)
        hu = sample_hu(view, region)
        hints = hints_of(prompts, region, view.geometry, hu=hu, previous=previous)
        probabilities = self._run(hu, hints)
        if self.settings.attached:
            inside = probabilities > _INSIDE
            probabilities[inside & ~attached(inside, hints)] = 0.0
        if self.settings.to_air:
            inside = probabilities > _INSIDE
            added = to_air(inside, hu, forbidden=hints[_NEGATIVE] > 0) & ~inside
            probabilities[added] = _ADDED
        if not prompts[-1].positive:
            probabilities[previous & (probabilities > self.settings.gives_up) & ~(probabilities > _INSIDE)] = _ADDED
        return _Look(region=region, probabilities=probabilities, previous=previous, hu=hu)

    def _region(self, view: View, centre: np.ndarray, spacing_mm: float) -> Region:
        return region_around(view.geometry, centre.tolist(), spacing_mm=spacing_mm, size=self._bundle.spec.region)

    def _finest(self, view: View) -> float:
        return max(self.settings.finest_mm, min(view.geometry.spacing))

    def _fitting(self, view: View, lower: np.ndarray, upper: np.ndarray) -> float:
        """Cells in mm with which a box of positions fills its share of a region."""
        edge_mm = float(((upper - lower + 1) * np.asarray(view.geometry.spacing)).max())
        return max(self._finest(view), edge_mm / (self.settings.fill * self._bundle.spec.region))

    def _run(self, hu: Cells, hints: Cells) -> Cells:
        """Probabilities of a region's cells; on the CPU from the moment a GPU's memory is exhausted."""
        try:
            return self._forward(hu, hints)
        except RuntimeError as error:
            if self._device.type == "cpu" or not is_out_of_memory(error):
                raise
            logger.warning("The GPU %s ran out of memory; the segmenter now runs on the CPU.", self._device)
            self._place(torch.device("cpu"))
            return self._forward(hu, hints)

    def _forward(self, hu: Cells, hints: Cells) -> Cells:
        inputs = [torch.from_numpy(array).to(self._device) for array in (hu[None, None], hints[None])]
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            logits = self._network(*inputs)
        return np.asarray(logits[0, 0].float().sigmoid().cpu().numpy(), dtype=np.float32)

    def _place(self, device: torch.device) -> None:
        self._device = device
        self._bfloat16 = has_fast_bfloat16(device)
        self._network.to(device=device)


def load_segmenter(source: str | Path = "clicks", *, device: str = "auto") -> ClickSegmenter:
    """Open an interactive segmenter, warmed up and ready.

    Args:
        source: Name of a shipped bundle of kind "clicks", or a bundle folder.
        device: "auto" (a GPU when there is one), "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        ModelUnavailableError: If there is no such bundle.
        BundleError: If it is damaged or of another kind.
        ValueError: If the device cannot be used here.
    """
    segmenter = ClickSegmenter(load_click_bundle(source), device=choose_device(device))
    segmenter.warm_up()
    return segmenter
