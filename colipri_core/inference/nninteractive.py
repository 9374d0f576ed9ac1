"""nnInteractive (Isensee et al., 2025) behind prompts, where that package is installed; we ship nothing of it.

Its session works in voxel space on arrays as nnU-Net reads them, `[k, j, i]`, and writes into a buffer that it is
given. Prompts are added to it one by one as long as the object is what it last showed. When it is not, because a hand
edited it, an edit was undone or another object is worked on, the session starts again from the mask as it stands.
The code of nnInteractive is Apache-2.0; its published weights are CC BY-NC-SA 4.0: not for commercial use. Its
checkpoints are pickles, opened by that package and not by this one.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from colipri_core.errors import MissingDependencyError
from colipri_core.errors import ModelUnavailableError
from colipri_core.inference.devices import choose_device
from colipri_core.inference.pointing import spatial_prompts
from colipri_core.model.weights import file_sha256
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.prompts import Box
from colipri_core.prompts import Crop
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.prompts import Position
from colipri_core.prompts import Prompt
from colipri_core.prompts import Scribble
from colipri_core.prompts import SpatialPrompt
from colipri_core.prompts import prompt_mask
from colipri_core.provenance import ModelCard
from colipri_core.volume import Volume

KIND = "nninteractive"
LICENCE = "CC BY-NC-SA 4.0 (not for commercial use)"
"""Of the published weights; a checkpoint's own LICENSE file counts where there is one."""

_PACKAGE = "nnInteractive"
_UNKNOWN_LICENCE = "!!MISSING!!"


def check_installed() -> None:
    """Refuse where nnInteractive is not installed.

    Raises:
        MissingDependencyError: With the command that installs it.
    """
    if importlib.util.find_spec(_PACKAGE) is None:
        msg = (
            "Answering prompts with nnInteractive needs the package nninteractive, which is not installed. Install it "
            f"with: pip install nninteractive. Its published weights are {LICENCE}."
        )
        raise MissingDependencyError(msg)


def load_nninteractive(folder: Path | None, device: str) -> NnInteractiveSegmenter:
    """Open nnInteractive; without a folder its own default model, which it downloads when it is first used.

    Args:
        folder: A trained model's folder (`plans.json`, `fold_*`); None for the package's default.
        device: Where it runs.

    Raises:
        MissingDependencyError: If it is not installed.
        ModelUnavailableError: If the model is missing and cannot be fetched, or cannot be opened.
    """
    check_installed()
    # By name: no part of this package depends on it or installs it.
    module = importlib.import_module(f"{_PACKAGE}.inference.inference_session")
    place = _default_folder() if folder is None else folder
    session = module.nnInteractiveInferenceSession(device=choose_device(device), enable_undo=False)
    try:
        session.initialize_from_trained_model_folder(str(place))
    except (OSError, KeyError, RuntimeError, ValueError, AssertionError) as error:
        msg = f'Expected the folder of a trained nnInteractive model, got "{place.name}": {error}. Choose another.'
        raise ModelUnavailableError(msg) from error
    return NnInteractiveSegmenter(session, _card(place, str(getattr(session, "license", _UNKNOWN_LICENCE))))


def _default_folder() -> Path:
    model_management = importlib.import_module(f"{_PACKAGE}.model_management")
    try:
        return Path(model_management.ensure_model_available(model_management.get_default_model_id()))
    except (RuntimeError, ValueError, OSError) as error:
        msg = (
            f"Cannot fetch nnInteractive's model: {error} Copy one from another machine and name its folder: "
            "nninteractive:FOLDER."
        )
        raise ModelUnavailableError(msg) from error


def _card(folder: Path, licence: str) -> ModelCard:
    checkpoints = sorted(folder.glob("fold_*/checkpoint_final.pth"))
    return ModelCard(
        name=folder.name,
        sha256=file_sha256(checkpoints[0]) if checkpoints else "0" * 64,
        kind=KIND,
        training_data="Published 3D scans and masks (Isensee et al., 2025).",
        synthetic=False,
        licence="not stated by the checkpoint" if licence == _UNKNOWN_LICENCE else licence,
    )


class NnInteractiveSegmenter:
    """A `Segmenter` that asks an nnInteractive session.

    Args:
        session: Has loaded its model.
        card: What is said of it.
    """

    def __init__(self, session: Any, card: ModelCard) -> None:
        self._session = session
        self._card = card
        self._volume: Volume | None = None
        self._buffer = np.zeros((0, 0, 0), dtype=np.uint8)
        self._asked: tuple[Prompt, ...] = ()
        self._shown = Crop.empty()

    @property
    def card(self) -> ModelCard:
        """Identity of the model."""
        return self._card

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
        """Return the whole mask of the object; see `colipri_core.prompts.Segmenter`.

        Args:
            volume: The CT.
            prompts: All prompts of the object, oldest first.
            previous: The object's mask as it stands; None if it has no voxel.
            seen_at: Where the phrase among the prompts is seen, RAS+ mm; a click, if nothing positive was placed.
            progress: Receives (fraction, message).
            cancel: Looked at before each prompt is handed over; a prediction that runs is not interrupted.
        """
        report = Reporter(progress, cancel)
        report(0.0, "Reading the volume")
        placed = spatial_prompts(prompts, seen_at)
        if not any(prompt.positive for prompt in placed) and previous is None:
            return Crop.empty()
        new = self._begin(volume, prompts, placed, previous)
        for number, prompt in enumerate(new):
            report((number + 1) / (len(new) + 2), "Asking nnInteractive")
            self._add(prompt, predict=number == len(new) - 1)
        self._asked = tuple(prompts)
        self._shown = Crop.around(self._buffer.transpose(2, 1, 0) > 0)
        report(1.0, "Outlined")
        return self._shown

    def _begin(
        self, volume: Volume, prompts: Sequence[Prompt], placed: Sequence[SpatialPrompt], previous: Crop | None
    ) -> Sequence[SpatialPrompt]:
        """Bring the session to where the newest prompts follow; returns those."""
        known = len(self._asked)
        goes_on = volume is self._volume and 0 < known < len(prompts) and tuple(prompts[:known]) == self._asked
        if volume is not self._volume:
            self._set_volume(volume)
        elif goes_on and _same(self._shown, previous):
            return [prompt for prompt in prompts[known:] if not isinstance(prompt, Phrase)]
        self._asked = ()  # until the answer is there, nothing can be built on
        if previous is None:
            self._session.reset_interactions()
            return placed
        mask = previous.on_grid(volume.shape).transpose(2, 1, 0)
        self._session.add_initial_seg_interaction(np.ascontiguousarray(mask, dtype=np.uint8), run_prediction=False)
        return placed[-1:]

    def _set_volume(self, volume: Volume) -> None:
        self._volume, self._shown = None, Crop.empty()
        voxels = np.ascontiguousarray(volume.voxels.transpose(2, 1, 0), dtype=np.float32)[None]
        self._session.set_image(voxels, {"spacing": list(volume.spacing[::-1])})
        self._buffer = np.zeros(voxels.shape[1:], dtype=np.uint8)
        self._session.set_target_buffer(self._buffer)
        self._volume = volume

    def _add(self, prompt: SpatialPrompt, *, predict: bool) -> None:
        assert self._volume is not None, "set before prompts are added"
        how = {"include_interaction": prompt.positive, "run_prediction": predict}
        covered = prompt_mask(prompt, self._volume.geometry)
        if isinstance(prompt, Point):
            index = np.round(self._volume.geometry.world_to_index(prompt.ras)).astype(int)
            self._session.add_point_interaction(tuple(int(at) for at in index[::-1]), **how)
        elif isinstance(prompt, Box):
            self._session.add_bbox_interaction(_flat(covered, self._volume), **how)
        else:
            add = self._session.add_scribble_interaction
            if not isinstance(prompt, Scribble):
                add = self._session.add_lasso_interaction
            spans = [[a, b] for a, b in zip(covered.lower, covered.upper, strict=True)]
            cut = np.ascontiguousarray(covered.mask.transpose(2, 1, 0), dtype=np.uint8)
            add(cut, interaction_bbox=spans[::-1], **how)


def _same(shown: Crop, previous: Crop | None) -> bool:
    if previous is None or previous.is_empty:
        return shown.is_empty
    tight = Crop.around(previous.mask, lower=previous.lower)
    return tight.lower == shown.lower and np.array_equal(tight.mask, shown.mask)


def _flat(covered: Crop, volume: Volume) -> list[list[int]]:
    """Half-open spans of a box in the session's order; a solid one as its middle axial slice, as the model needs."""
    spans = [[a, b] for a, b in zip(covered.lower, covered.upper, strict=True)]
    if all(b - a > 1 for a, b in spans):
        axis = int(np.abs(volume.geometry.direction[2]).argmax())
        middle = sum(spans[axis]) // 2
        spans[axis] = [middle, middle + 1]
    return spans[::-1]
