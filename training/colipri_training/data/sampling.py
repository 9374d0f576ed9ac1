"""Which volumes make up a step: a pure function of seed and step, the same on one rank and on many.

Volumes with and without reports take turns on their own: each kind is shuffled anew every epoch and shown once before
any is shown again. A batch holds a fixed number of both, the paired ones first, so that the contrastive loss always
meets as many pairs; every rank takes an equal run of each.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draw:
    """One volume of one step.

    Args:
        index: Which volume of its kind.
        is_paired: Whether it comes with its report.
        step: The step.
        position: Place in the global batch; with the step it decides crop and variation.
    """

    index: int
    is_paired: bool
    step: int
    position: int


class Sampler:
    """Draws the volumes of any step.

    Args:
        paired: Number of volumes with a report.
        image_only: Number of volumes that are shown without one.
        paired_batch: Pairs in a global batch.
        image_only_batch: Other volumes in a global batch.
        seed: Decides every order.

    Raises:
        ValueError: If a batch needs more volumes of a kind than there are, or none at all.
    """

    def __init__(self, *, paired: int, image_only: int, paired_batch: int, image_only_batch: int, seed: int) -> None:
        for count, batch, kind in ((paired, paired_batch, "with"), (image_only, image_only_batch, "without")):
            if batch < 0 or batch > count:
                msg = f"A batch of {batch} volumes {kind} a report needs as many, and there are {count}."
                raise ValueError(msg)
        if paired_batch + image_only_batch == 0:
            msg = "A batch must hold at least one volume."
            raise ValueError(msg)
        self._counts = (image_only, paired)
        self._batches = (image_only_batch, paired_batch)
        self._seed = seed
        self._order = lru_cache(maxsize=4)(self._shuffled)

    def draws(self, step: int, *, rank: int = 0, world: int = 1) -> list[Draw]:
        """Draw a rank's part of a step, paired volumes first.

        Args:
            step: From 0.
            rank: Which process.
            world: How many there are; it must divide both parts of the batch.

        Raises:
            ValueError: If the batch cannot be shared equally.
        """
        if any(batch % world for batch in self._batches):
            alone, paired = self._batches
            msg = f"{world} ranks cannot share equally {paired} paired and {alone} image-only volumes of a batch."
            raise ValueError(msg)
        return [*self._of_kind(step, rank, world, is_paired=True), *self._of_kind(step, rank, world, is_paired=False)]

    def _of_kind(self, step: int, rank: int, world: int, *, is_paired: bool) -> list[Draw]:
        batch, count = self._batches[is_paired], self._counts[is_paired]
        share = batch // world
        draws = []
        for place in range(rank * share, (rank + 1) * share):
            epoch, index = divmod(step * batch + place, count)
            chosen = int(self._order(is_paired, epoch)[index])
            position = place if is_paired else self._batches[True] + place
            draws.append(Draw(index=chosen, is_paired=is_paired, step=step, position=position))
        return draws

    def _shuffled(self, is_paired: bool, epoch: int) -> npt.NDArray[np.int64]:
        order: npt.NDArray[np.int64]
        order = np.random.default_rng([self._seed, 2, int(is_paired), epoch]).permutation(self._counts[is_paired])
        return order
