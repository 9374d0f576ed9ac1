"""What is computed of one volume, once: the prepared array, the token grid, and what follows from it.

Everything here runs on the model's thread. The token grid is the expensive part (minutes for the published model on a
CPU) and is kept on disk under a key of voxels, preprocessing spec, weights and precision; it is stored in the precision
it was computed in, so a cached answer equals a fresh one bit for bit.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from colipri_core.cache import ArrayCache
from colipri_core.cache import cache_key
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.inference.body import Body
from colipri_core.inference.body import find_body
from colipri_core.inference.domain import domain_warnings
from colipri_core.inference.runtime import ModelRuntime
from colipri_core.io.checks import check_volume
from colipri_core.preprocess import Prepared
from colipri_core.preprocess import field_of_view_warnings
from colipri_core.preprocess import prepare
from colipri_core.progress import Reporter
from colipri_core.volume import Volume

_FORMAT = 1
"""Part of the cache key; raised when what is stored, or how it is computed, changes."""

_BITS = {torch.bfloat16: torch.int16, torch.float32: torch.float32}
"""numpy has no bfloat16: its bits are stored as integers."""


class Stopwatch:
    """Collects how long each step of a call took.

    Attributes:
        seconds: Step -> seconds.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time the body of a `with` as one step."""
        start = time.perf_counter()
        yield
        self.seconds[step] = round(self.seconds.get(step, 0.0) + time.perf_counter() - start, 6)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """All a session needs of its volume.

    Args:
        prepared: The volume on the model grid.
        body: Coarse masks of body and lungs.
        grid: Raw patch grid (1, C, x, y, z), on the CPU, in the encoder's precision.
        pooled: Unit vector (E,) of the whole volume.
        warnings: What the reader should know of the volume.
    """

    prepared: Prepared
    body: Body
    grid: Tensor
    pooled: Tensor
    warnings: tuple[str, ...]


class FeatureStore:
    """Computes the features of one volume at the first request and keeps them.

    Args:
        runtime: The loaded model.
        volume: The volume.
        cache: Where token grids are kept between sessions.
    """

    def __init__(self, runtime: ModelRuntime, volume: Volume, cache: ArrayCache) -> None:
        self._runtime = runtime
        self._volume = volume
        self._cache = cache
        self._features: Features | None = None
        self._dense: Tensor | None = None

    def get(self, report: Reporter, stopwatch: Stopwatch) -> Features:
        """Return the features, computing what is missing.

        Args:
            report: Told of the progress; its cancellation leaves nothing half done.
            stopwatch: Receives "prepare" and "encode", or "encode (cached)".

        Raises:
            UnsupportedVolumeError: If the volume holds NaN or infinity.
            Cancelled: If the reporter's cancel token is set.
        """
        if self._features is not None:
            stopwatch.seconds["encode (cached)"] = 0.0
            return self._features
        report(0.0, "Preparing the volume")
        spec = self._runtime.bundle.spec.preprocessing
        with stopwatch("prepare"):
            prepared = prepare(self._volume, spec)
            _refuse_non_finite(self._volume, prepared)
            body = find_body(prepared, spec, patch_size=self._patch_size)
        grid = self._token_grid(prepared, report.part(0.05, 0.97), stopwatch)
        with stopwatch("pool"):
            pooled = self._runtime.on_device(lambda: self._runtime.pool(grid))
        self._features = Features(
            prepared=prepared,
            body=body,
            grid=grid,
            pooled=pooled,
            warnings=self._warnings(body),
        )
        report(1.0, "Encoded")
        return self._features

    def dense(self, features: Features) -> Tensor:
        """Return the unit vector (E, x, y, z) of every token; computed once.

        Args:
            features: What `get` returned.
        """
        if self._dense is None:
            self._dense = self._runtime.on_device(lambda: self._runtime.dense(features.grid))
        return self._dense

    @property
    def _patch_size(self) -> int:
        return self._runtime.bundle.model.patch_size

    def _token_grid(self, prepared: Prepared, report: Reporter, stopwatch: Stopwatch) -> Tensor:
        key = self._key()
        start = time.perf_counter()
        grid = self._from_cache(key, prepared)
        if grid is not None:
            stopwatch.seconds["encode (cached)"] = round(time.perf_counter() - start, 6)
            return grid
        image = torch.from_numpy(prepared.array)[None, None]
        with stopwatch("encode"):
            grid = self._runtime.on_device(lambda: self._runtime.encode(image, report))
        bits = grid.contiguous().view(_BITS[grid.dtype]).numpy()
        with stopwatch("store"):
            self._cache.store(key, {"grid": bits})
        return grid

    def _from_cache(self, key: str, prepared: Prepared) -> Tensor | None:
        arrays = self._cache.load(key)
        if arrays is None:
            return None
        grid = torch.from_numpy(arrays["grid"]).view(self._runtime.precision)
        tokens = tuple(size // self._patch_size for size in prepared.geometry.shape)
        assert grid.shape[2:] == tokens, "a key names one grid"
        return grid

    def _key(self) -> str:
        return cache_key(
            format=_FORMAT,
            volume=self._volume.sha256,
            preprocessing=self._runtime.bundle.spec.preprocessing.to_json(),
            weights=self._runtime.bundle.sha256,
            precision=self._runtime.precision_name,
        )

    def _warnings(self, body: Body) -> tuple[str, ...]:
        """Everything that makes results on this volume doubtful."""
        doubts = check_volume(self._volume)
        if not doubts and self._volume.unit != "HU":
            doubts = (f'The intensities are said to be "{self._volume.unit}", not Hounsfield units.',)
        spec = self._runtime.bundle.spec.preprocessing
        return (*doubts, *field_of_view_warnings(self._volume.geometry, spec), *domain_warnings(body))


def _refuse_non_finite(volume: Volume, prepared: Prepared) -> None:
    """A single NaN would reach every token through attention."""
    if not np.isfinite(prepared.array).all():
        msg = (
            f'Expected finite numbers in all voxels of "{volume.name}", found NaN or infinity. '
            "Replace them, for example by -1000 HU (air), and open the volume again."
        )
        raise UnsupportedVolumeError(msg)
