"""Episodes: conversations between the model and simulated users, several at a time, each at its own point.

Every pass of the network is both a training step and the answer that decides the next prompt, so no pass is spent on
playing alone; and as the conversations are not in step, a batch holds first clicks and late corrections alike.
What happens in an episode is a function of (seed, number of the episode, round, what the model showed), so the whole
state is a few arrays, and a run goes on from a checkpoint exactly.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from typing import Protocol

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from colipri_core.model.click_hints import HINTS
from colipri_core.model.click_hints import Hint
from colipri_core.model.click_hints import empty_hints
from colipri_training.clicks.chests import chest_scene
from colipri_training.clicks.config import ClickConfig
from colipri_training.clicks.scenes import Scene
from colipri_training.clicks.scenes import synthetic_scene
from colipri_training.clicks.shapes import Mask
from colipri_training.clicks.user import correct
from colipri_training.clicks.user import first_prompt

HELD_OUT = 1_000_000_000
"""Episodes from this number on are for validation only."""

_PREVIOUS = HINTS.index("previous")
_FROM_MASK = 0.15
_COARSE = 0.2
_EPISODES_A_PHANTOM = 32
_WORKERS = 2


class SceneSource(Protocol):
    """Where scenes come from beside the generators, such as a project's labels."""

    def draw(self, rng: np.random.Generator, size: int) -> Scene | None:
        """Draw a scene with regions of `size` cells along an edge; None if it has none this time."""
        ...


class Episodes:
    """A batch of episodes.

    Args:
        config: The run.
        first: Number of the first episode.
        source: Draws the share `config.project_share` of the scenes; None if all are generated.

    Attributes:
        hu: (B, 1, X, Y, Z) float32.
        hints: (B, H, X, Y, Z) float32.
        targets: (B, 1, X, Y, Z) uint8.
    """

    def __init__(self, config: ClickConfig, *, first: int = 0, source: SceneSource | None = None) -> None:
        self._config = config
        self._source = source
        batch, cube = config.batch_size, (config.region,) * 3
        self.hu = torch.zeros(batch, 1, *cube)
        self.hints = torch.zeros(batch, len(HINTS), *cube)
        self.targets = torch.zeros(batch, 1, *cube, dtype=torch.uint8)
        self._numbers = list(range(first, first + batch))
        self._rounds = [0] * batch
        self._next = first + batch
        self._pool = ThreadPoolExecutor(_WORKERS)
        list(self._pool.map(self._begin, range(batch)))

    def advance(self, shown: Tensor) -> None:
        """Let each user answer; episodes that are over make room for new ones.

        Args:
            shown: (B, 1, X, Y, Z) bool, what the model shows.
        """
        ended = [slot for slot, round_number in enumerate(self._rounds) if round_number + 1 >= self._length(slot)]
        for slot in range(len(self._numbers)):
            self._rounds[slot] += 1
            if slot in ended:
                self._numbers[slot], self._rounds[slot] = self._next, 0
                self._next += 1
        masks = shown[:, 0].numpy()
        jobs = [(slot, None if slot in ended else masks[slot]) for slot in range(len(masks))]
        list(self._pool.map(self._move, jobs))

    def state(self) -> dict[str, Any]:
        """Everything needed to go on, as tensors and plain values."""
        return {
            "hu": self.hu.clone(),
            "hints": self.hints.clone(),
            "targets": self.targets.clone(),
            "numbers": list(self._numbers),
            "rounds": list(self._rounds),
            "next": self._next,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.hu, self.hints, self.targets = (state[name].clone() for name in ("hu", "hints", "targets"))
        self._numbers, self._rounds, self._next = list(state["numbers"]), list(state["rounds"]), state["next"]

    def _move(self, job: tuple[int, Mask | None]) -> None:
        slot, shown = job
        if shown is None:
            self._begin(slot)
            return
        rng = self._rng(slot)
        hints: Hint = self.hints[slot].numpy()
        hints[_PREVIOUS] = _coarsened(shown) if rng.random() < _COARSE else shown
        target = self.targets[slot, 0].numpy().astype(bool)
        correct(rng, hints, target, shown=hints[_PREVIOUS] > 0.5, hu=self.hu[slot, 0].numpy())

    def _begin(self, slot: int) -> None:
        rng = self._rng(slot)
        scene = draw_scene(rng, self._numbers[slot], self._config, source=self._source)
        hints = empty_hints(self._config.region)
        begin_hints(rng, hints, scene)
        self.hu[slot, 0] = torch.from_numpy(scene.hu)
        self.hints[slot] = torch.from_numpy(hints)
        self.targets[slot, 0] = torch.from_numpy(scene.target.astype(np.uint8))

    def _rng(self, slot: int) -> np.random.Generator:
        return np.random.default_rng([self._config.seed, self._numbers[slot], self._rounds[slot]])

    def _length(self, slot: int) -> int:
        """How many prompts the user of an episode gives."""
        rng = np.random.default_rng([self._config.seed, self._numbers[slot]])
        return int(rng.integers(1, self._config.longest + 1))


def draw_scene(
    rng: np.random.Generator, number: int, config: ClickConfig, *, source: SceneSource | None = None
) -> Scene:
    """Draw the scene of an episode.

    Args:
        rng: The episode's source of randomness.
        number: Number of the episode; neighbouring ones share a phantom.
        config: The run.
        source: Draws its share of the scenes.
    """
    if source is not None and rng.random() < config.project_share:
        scene = source.draw(rng, config.region)
        if scene is not None:
            return scene
    if rng.random() < config.chest_share:
        # Phantoms below 1,000,000 are for training, those from there on for validation.
        seed = number // _EPISODES_A_PHANTOM if number < HELD_OUT else 1_000_000 + number - HELD_OUT
        scene = chest_scene(rng, config.region, seed)
        if scene is not None:
            return scene
    return synthetic_scene(rng, config.region)


def begin_hints(rng: np.random.Generator, hints: Hint, scene: Scene) -> None:
    """Give the first prompt; at times there is a mask already, of a model or a person, and the prompt corrects it."""
    if rng.random() < _FROM_MASK:
        hints[_PREVIOUS] = damaged(rng, scene.target)
        correct(rng, hints, scene.target, shown=hints[_PREVIOUS] > 0.5, hu=scene.hu)
    else:
        first_prompt(rng, hints, scene.target, scene.hu)


def damaged(rng: np.random.Generator, target: Mask) -> Mask:
    """Return a mask as a person or another model may have left it: moved, grown, or cut off at a plane."""
    mask = np.roll(target, rng.integers(-3, 4, 3), axis=(0, 1, 2))
    draw = rng.random()
    if draw < 0.4:
        size = mask.shape[0]
        axis, cut = int(rng.integers(3)), int(rng.integers(size // 4, 3 * size // 4))
        np.moveaxis(mask, axis, 0)[cut:] = False
    elif draw < 0.7:
        mask = ndimage.binary_dilation(mask, iterations=int(rng.integers(1, 4)))
    return np.asarray(mask)


def _coarsened(mask: Mask) -> Mask:
    """A mask as it comes from a coarser pass over a larger region."""
    coarse = np.add.reduce([mask[i::2, j::2, k::2].astype(np.uint8) for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    return np.asarray((coarse >= 4).repeat(2, 0).repeat(2, 1).repeat(2, 2))
