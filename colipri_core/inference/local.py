"""The engine of this process: a bundle, the device it runs on, and the thread that owns it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from colipri_core.cache import ArrayCache
from colipri_core.cases import Embedding
from colipri_core.engine import Capabilities
from colipri_core.errors import SessionClosedError
from colipri_core.inference.devices import choose_device
from colipri_core.inference.embeddings import embed_texts
from colipri_core.inference.labelling import Labelling
from colipri_core.inference.labelling import LoadSegmenter
from colipri_core.inference.labelling import SegmenterSlot
from colipri_core.inference.runtime import ModelRuntime
from colipri_core.inference.segmenters import load_clicks
from colipri_core.inference.session import LocalSession
from colipri_core.inference.structures import known_structures
from colipri_core.inference.worker import ModelWorker
from colipri_core.io.checks import check_shape
from colipri_core.model.bundle import load_any_bundle
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.provenance import ModelCard
from colipri_core.volume import Volume

_CLOSED = "The engine was closed. Open it again with open_engine()."


class LocalEngine:
    """Implements `colipri_core.engine.Engine` with torch; made by `load`.

    Args:
        runtime: The loaded model.
        worker: The thread that owns it.
        cache: Where encoded features are kept.
        segmenter: Loads the model that answers prompts; called at the first one, on the model's thread.
    """

    def __init__(
        self, runtime: ModelRuntime, worker: ModelWorker, cache: ArrayCache, *, segmenter: LoadSegmenter = load_clicks
    ) -> None:
        self._runtime = runtime
        self._segmenter = SegmenterSlot(segmenter, str(runtime.device))
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
        segmenter: LoadSegmenter = load_clicks,
    ) -> LocalEngine:
        """Load a model, place it on a device and warm it up.

        Args:
            model: Name of a shipped bundle, a bundle folder, or a hub id.
            device: See `colipri_core.open_engine`.
            cache_dir: Where encoded features are kept; None for the user's cache folder.
            progress: Receives (fraction, message).
            cancel: Cancels loading.
            segmenter: Loads the model that answers prompts, when the first comes.

        Raises:
            ModelUnavailableError: If the model cannot be found, fetched or verified.
            ValueError: If the device cannot be used here.
        """
        cache = ArrayCache(cache_dir)
        worker = ModelWorker()

        def job(report: Reporter) -> ModelRuntime:
            place = choose_device(device)
            with torch.inference_mode(mode=False):  # of weights made in that mode nothing can be derived
                runtime = ModelRuntime(load_any_bundle(model, lazy_head=True, progress=report.part(0.0, 0.8)), place)
            runtime.warm_up(report.part(0.8, 1.0))
            return runtime

        try:
            runtime = worker.run(job, progress=progress, cancel=cancel)
        except BaseException:
            worker.close()
            raise
        return cls(runtime, worker, cache, segmenter=segmenter)

    @property
    def card(self) -> ModelCard:
        """Identity of the model, to be shown beside every number."""
        return self._runtime.card

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""
        return Capabilities(
            findings=self._runtime.findings,
            free_text=self._runtime.has_texts,
            structures=known_structures(self._runtime),
            report=self._runtime.has_texts and self._runtime.language.report_decoder is not None,
        )

    @property
    def device(self) -> str:
        """Device the model runs on, such as "cpu"."""
        return str(self._runtime.device)

    @property
    def versions(self) -> dict[str, str]:
        """Package name -> version of what runs the model, as in the provenance of results."""
        return dict(self._runtime.versions)

    def open(self, volume: Volume, *, autosave: Path | None = None) -> LocalSession:
        """Open a volume; it is read and encoded at the first question, its journal at the first look at its labels.

        Args:
            volume: The CT.
            autosave: See `colipri_core.engine.Engine.open`.

        Raises:
            UnsupportedVolumeError: If the volume is a single slice, or too large.
            SessionClosedError: If the engine was closed.
        """
        if self._closed:
            raise SessionClosedError(_CLOSED)
        check_shape(volume.name, volume.shape)
        labelling = Labelling(volume, self._worker, self._segmenter, autosave=autosave)
        return LocalSession(self._runtime, self._worker, volume, self._cache, labelling=labelling)

    def embed_text(self, text: str, *, contrast: bool = False) -> Embedding:
        """See `colipri_core.engine.Engine.embed_text`."""
        return self.embed_texts([text], contrast=contrast)[0]

    def embed_texts(
        self,
        texts: Sequence[str],
        *,
        contrast: bool = False,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[Embedding, ...]:
        """See `colipri_core.engine.Engine.embed_texts`.

        Raises:
            SessionClosedError: If the engine was closed.
        """
        if self._closed:
            raise SessionClosedError(_CLOSED)
        return self._worker.run(
            lambda report: embed_texts(self._runtime, texts, contrast=contrast, report=report),
            progress=progress,
            cancel=cancel,
        )

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
