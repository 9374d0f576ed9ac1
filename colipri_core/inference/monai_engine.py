"""MONAI bundles behind the one API: an engine that outlines structures, answers prompts, and says what it cannot do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn
from typing import Self

from colipri_core.engine import Capabilities
from colipri_core.errors import CapabilityError
from colipri_core.errors import SessionClosedError
from colipri_core.inference.devices import choose_device
from colipri_core.inference.features import Stopwatch
from colipri_core.inference.label_session import LabelSession
from colipri_core.inference.labelling import Labelling
from colipri_core.inference.labelling import LoadSegmenter
from colipri_core.inference.labelling import SegmenterSlot
from colipri_core.inference.monai_windows import Outlined
from colipri_core.inference.monai_windows import WindowRunner
from colipri_core.inference.structures import chosen_segments
from colipri_core.inference.structures import expected_error
from colipri_core.inference.structures import paint
from colipri_core.inference.worker import ModelWorker
from colipri_core.io.checks import check_shape
from colipri_core.model.monai_bundle import load_monai_bundle
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.provenance import ModelCard
from colipri_core.provenance import Provenance
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

_SHARE = 0.7


def _refused(self: MonaiEngine | MonaiSession, *_args: object, **_kwargs: object) -> NoReturn:
    """Refused: see `CapabilityError`."""
    msg = (
        f'The model "{self.card.name}" outlines structures and cannot read words: no findings, evidence, reports or '
        'similar cases. Open a vision-language model for that, such as "tiny".'
    )
    raise CapabilityError(msg)


class MonaiEngine:
    """Implements `colipri_core.engine.Engine` for a MONAI bundle; made by `load`.

    Args:
        runner: The loaded network.
        worker: The thread that owns it.
        segmenter: The interactive model.
    """

    def __init__(self, runner: WindowRunner, worker: ModelWorker, segmenter: SegmenterSlot) -> None:
        self._runner = runner
        self._worker = worker
        self._segmenter = segmenter
        self._closed = False

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: str = "auto",
        segmenter: LoadSegmenter,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> MonaiEngine:
        """Load a bundle and place it on a device.

        Args:
            folder: The bundle.
            device: See `colipri_core.open_engine`.
            segmenter: Loads the model that answers prompts, when the first comes.
            progress: Receives (fraction, message).
            cancel: Cancels loading.

        Raises:
            BundleError: If the bundle is damaged, or names what this version does not run.
            ValueError: If the device cannot be used here.
        """
        worker = ModelWorker()

        def job(report: Reporter) -> WindowRunner:
            report(0.0, f"Reading {folder.name}")
            place = choose_device(device)
            runner = WindowRunner(load_monai_bundle(folder), place)
            report(1.0, "Ready")
            return runner

        try:
            runner = worker.run(job, progress=progress, cancel=cancel)
        except BaseException:
            worker.close()
            raise
        return cls(runner, worker, SegmenterSlot(segmenter, str(runner.device)))

    @property
    def card(self) -> ModelCard:
        """Identity of the model."""
        return self._runner.bundle.card

    @property
    def capabilities(self) -> Capabilities:
        """Structures alone."""
        return Capabilities(findings=(), free_text=False, structures=self._runner.bundle.structures)

    @property
    def device(self) -> str:
        """Device the model runs on, such as "cpu"."""
        return str(self._runner.device)

    @property
    def versions(self) -> dict[str, str]:
        """Package name -> version of what runs the model."""
        return self._runner.versions

    def open(self, volume: Volume, *, autosave: Path | None = None) -> MonaiSession:
        """Open a volume.

        Args:
            volume: The CT.
            autosave: See `colipri_core.engine.Engine.open`.

        Raises:
            UnsupportedVolumeError: If the volume is a single slice, or too large.
            SessionClosedError: If the engine was closed.
        """
        if self._closed:
            msg = "The engine was closed. Open it again with open_engine()."
            raise SessionClosedError(msg)
        check_shape(volume.name, volume.shape)
        labelling = Labelling(volume, self._worker, self._segmenter, autosave=autosave)
        return MonaiSession(self._runner, self._worker, volume, labelling=labelling)

    embed_text = embed_texts = _refused

    def close(self) -> None:
        """Stop the worker and free the model. Closing twice does nothing."""
        self._closed = True
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class MonaiSession(LabelSession):
    """Implements `colipri_core.engine.Session` as far as structures and labels go.

    Args:
        runner: The loaded network.
        worker: The thread that owns it.
        volume: The volume.
        labelling: The labels that are edited.
    """

    def __init__(self, runner: WindowRunner, worker: ModelWorker, volume: Volume, *, labelling: Labelling) -> None:
        super().__init__(volume, labelling)
        self._runner = runner
        self._worker = worker
        self._outlined: Outlined | None = None
        self._closed = False

    @property
    def card(self) -> ModelCard:
        """Identity of the model."""
        return self._runner.bundle.card

    def segment(
        self,
        structures: Sequence[str] | None = None,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Segmentation:
        """See `colipri_core.engine.Session.segment`; the network runs once a session."""
        if self._closed:
            msg = "The session was closed. Open the volume again with engine.open()."
            raise SessionClosedError(msg)
        if isinstance(structures, str):
            msg = f'Expected a list of names, got the text "{structures}". Pass ["{structures}"].'
            raise TypeError(msg)
        segments = chosen_segments(self._runner.bundle.structures, structures, model=self.card.name)

        def job(report: Reporter) -> Segmentation:
            stopwatch = Stopwatch()
            with stopwatch("structures"):
                if self._outlined is None:
                    self._outlined = self._runner.outline(self._volume, report.part(0.0, _SHARE))
            found = self._outlined
            with stopwatch("outline"):
                labelmap = paint(
                    found.probabilities,
                    found.grid,
                    self._volume.geometry,
                    keep=[segment.label for segment in segments],
                    report=report.part(_SHARE, 1.0),
                )
            report(1.0, "Done")
            return Segmentation(
                labelmap=labelmap,
                geometry=self._volume.geometry,
                segments=segments,
                provenance=self._provenance(stopwatch),
                uncertainty=expected_error(found.probabilities),
            )

        return self._worker.run(job, progress=progress, cancel=cancel)

    classify = evidence = _attend = embedding = regions = similar = draft_report = check_sentences = _refused

    def close(self) -> None:
        """Free probabilities and labels. Closing twice does nothing."""
        self._closed = True
        self._outlined = None
        super().close()

    def _provenance(self, stopwatch: Stopwatch) -> Provenance:
        versions, device = self._software()
        return Provenance(
            model=self.card,
            preprocessing={"roi_size": list(self._runner.bundle.windows.roi_size)},
            versions=versions,
            device=device,
            timings=dict(stopwatch.seconds),
            warnings=tuple(self._runner.notices),
        )

    def _software(self) -> tuple[dict[str, str], str]:
        return self._runner.versions, str(self._runner.device)
