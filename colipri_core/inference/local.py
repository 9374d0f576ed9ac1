"""The engine of this process: a bundle, the device it runs on, and the thread that owns it."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from colipri_core.cache import ArrayCache
from colipri_core.engine import Capabilities
from colipri_core.errors import SessionClosedError
from colipri_core.inference.devices import choose_device
from colipri_core.inference.runtime import ModelRuntime
from colipri_core.inference.session import LocalSession
from colipri_core.inference.structures import known_structures
from colipri_core.inference.worker import ModelWorker
from colipri_core.io.checks import check_shape
from colipri_core.model.bundle import load_bundle
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.provenance import ModelCard
from colipri_core.volume import Volume


class LocalEngine:
    """Implements `colipri_core.engine.Engine` with torch; made by `load`.

    Args:
        runtime: The loaded model.
        worker: The thread that owns it.
        cache: Where encoded features are kept.
    """

    def __init__(self, runtime: ModelRuntime, worker: ModelWorker, cache: ArrayCache) -> None:
        self._runtime = runtime
        self._worker = worker
        self._cache = cache
        self._closed = False

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        device: str = "auto",
        cache_dir: Path | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> LocalEngine:
        """Load a model, place it on a device and warm it up.

        Args:
            model: Name of a shipped bundle, a bundle folder, or a hub id.
            device: See `colipri_core.open_engine`.
            cache_dir: Where encoded features are kept; None for the user's cache folder.
            progress: Receives (fraction, message).
            cancel: Cancels loading.

        Raises:
            ModelUnavailableError: If the model cannot be found, fetched or verified.
            ValueError: If the device cannot be used here.
        """
        cache = ArrayCache(cache_dir)
        worker = ModelWorker()

        def job(report: Reporter) -> ModelRuntime:
            place = choose_device(device)
            runtime = ModelRuntime(load_bundle(model, lazy_head=True, progress=report.part(0.0, 0.8)), place)
            runtime.warm_up(report.part(0.8, 1.0))
            return runtime

        try:
            runtime = worker.run(job, progress=progress, cancel=cancel)
        except BaseException:
            worker.close()
            raise
        return cls(runtime, worker, cache)

    @property
    def card(self) -> ModelCard:
        """Identity of the model, to be shown beside every number."""
        return self._runtime.card

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""
        return Capabilities(
            findings=self._runtime.findings,
            free_text=True,
            structures=known_structures(self._runtime),
            report=self._runtime.bundle.report_decoder is not None,
        )

    @property
    def device(self) -> str:
        """Device the model runs on, such as "cpu"."""
        return str(self._runtime.device)

    def open(self, volume: Volume) -> LocalSession:
        """Open a volume; it is read and encoded at the first question.

        Raises:
            UnsupportedVolumeError: If the volume is a single slice, or too large.
            SessionClosedError: If the engine was closed.
        """
        if self._closed:
            msg = "The engine was closed. Open it again with open_engine()."
            raise SessionClosedError(msg)
        check_shape(volume.name, volume.shape)
        return LocalSession(self._runtime, self._worker, volume, self._cache)

    def close(self) -> None:
        """Cancel what runs, stop the worker and free the model. Closing twice does nothing."""
        self._closed = True
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
