"""Pairs of image tokens and reports: the frozen encoder runs once a case, what learns reads what was kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from colipri_core.model.bundle import Bundle
from colipri_training.data.store import CaseStore
from colipri_training.data.tokens import TokenFiles


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """A volume as image tokens, and its report.

    Args:
        tokens: (M, C) float32.
        report: The text.
    """

    tokens: Tensor
    report: str


class PairStore:
    """Pairs of the cases of a phantom store, each encoded at its first use and kept on disk.

    Args:
        bundle: The encoder and its preprocessing.
        cases: Phantoms on its grid.
        folder: Where tokens are kept, by the hash of the weights.
        pool: Edge of the cubes that are averaged.
    """

    def __init__(self, bundle: Bundle, cases: CaseStore, folder: Path, *, pool: int) -> None:
        self._bundle = bundle
        self._cases = cases
        self._tokens = TokenFiles(bundle, cases, folder, pool=pool)
        self.seeds = cases.seeds()

    def __len__(self) -> int:
        return len(self.seeds)

    def identity(self) -> dict[str, Any]:
        """Which encoder and phantoms these are."""
        seeds = hashlib.sha256(json.dumps(list(self.seeds)).encode()).hexdigest()
        return {"bundle": self._bundle.sha256, "phantoms": len(self), "seeds": seeds}

    def __getitem__(self, index: int) -> Pair:
        seed = self.seeds[index]
        return Pair(tokens=self._tokens.read(seed), report=self._cases.read_text(seed)["report"])


def batches(pairs: Sequence[Pair] | PairStore, *, size: int, steps: range, seed: int) -> Iterator[list[Pair]]:
    """Draw a batch for each step; what a step sees depends on its number and the seed alone.

    Args:
        pairs: What is drawn from, each pass in another order.
        size: Pairs a batch.
        steps: Which steps.
        seed: Decides the order.
    """
    for step in steps:
        places = range(step * size, (step + 1) * size)
        yield [pairs[_place(place, len(pairs), seed)] for place in places]


def _place(place: int, count: int, seed: int) -> int:
    generator = torch.Generator().manual_seed(seed + place // count)
    return int(torch.randperm(count, generator=generator)[place % count])
