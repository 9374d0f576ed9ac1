"""TokenFiles: what a frozen encoder sees in each phantom, worked out at its first use and kept in a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from colipri_core.io.atomic import atomic_file
from colipri_core.model.bundle import Bundle
from colipri_training.data.store import CaseStore
from colipri_training.evaluation.zero_shot import normalise
from colipri_training.precision import native_bfloat16


class TokenFiles:
    """Raw tokens of phantoms, float16; several processes may fill one folder.

    Args:
        bundle: The encoder and its preprocessing.
        cases: Phantoms on its grid.
        folder: Where tokens are kept, by the hash of the weights.
        pool: Edge of the cubes that are averaged.
    """

    def __init__(self, bundle: Bundle, cases: CaseStore, folder: Path, *, pool: int = 1) -> None:
        self._bundle = bundle
        self._cases = cases
        self._pool = pool
        self._folder = folder / f"{bundle.sha256[:16]}-pool{pool}"
        self._folder.mkdir(parents=True, exist_ok=True)

    def read(self, seed: int) -> Tensor:
        """Return the tokens of a phantom, float32 (M, C), row-major; encode it if that was not done yet."""
        path = self._folder / f"{seed:07d}.npy"
        if not path.is_file():
            tokens = self._encode(seed).half().numpy()
            with atomic_file(path, ".npy") as temporary:
                np.save(temporary, tokens)
        return torch.from_numpy(np.load(path)).float()

    def batch(self, seeds: Sequence[int]) -> Tensor:
        """Return the tokens of several phantoms, float32 (B, M, C)."""
        return torch.stack([self.read(seed) for seed in seeds])

    def _encode(self, seed: int) -> Tensor:
        spec = self._bundle.spec
        with torch.inference_mode(), native_bfloat16():
            grid = self._bundle.model.image_features(normalise(self._cases.read(seed), spec.preprocessing), spec.window)
        return pooled_tokens(grid, self._pool)


def pooled_tokens(grid: Tensor, pool: int) -> Tensor:
    """Average a raw patch grid (1, C, x, y, z) in cubes: (M, C), row-major; a rim may fill less than a cube."""
    pooled = F.avg_pool3d(grid.float(), pool, ceil_mode=True, count_include_pad=False)
    return rearrange(pooled, "1 c x y z -> (x y z) c").contiguous()
