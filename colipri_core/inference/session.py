"""A volume opened in a local engine: each question is one job on the model's thread."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import TypeVar

from colipri_core.cache import ArrayCache
from colipri_core.cases import CaseFilter
from colipri_core.cases import CaseSearch
from colipri_core.cases import Embedding
from colipri_core.cases import Match
from colipri_core.cases import RegionEmbedding
from colipri_core.cases import RegionMask
from colipri_core.cases import check_store
from colipri_core.errors import SessionClosedError
from colipri_core.findings import EvidenceMap
from colipri_core.findings import Findings
from colipri_core.inference.embeddings import region_embeddings
from colipri_core.inference.embeddings import region_vector
from colipri_core.inference.evidence import evidence_map
from colipri_core.inference.evidence import evidence_peaks
from colipri_core.inference.features import Features
from colipri_core.inference.features import FeatureStore
from colipri_core.inference.features import Stopwatch
from colipri_core.inference.focus import look_closer
from colipri_core.inference.label_session import LabelSession
from colipri_core.inference.labelling import Labelling
from colipri_core.inference.phrase_outline import phrase_outline
from colipri_core.inference.reports import Draft
from colipri_core.inference.reports import DraftRequest
from colipri_core.inference.reports import check
from colipri_core.inference.reports import draft
from colipri_core.inference.reports import given_line
from colipri_core.inference.runtime import ModelRuntime
from colipri_core.inference.structures import chosen_segments
from colipri_core.inference.structures import expected_error
from colipri_core.inference.structures import known_structures
from colipri_core.inference.structures import paint
from colipri_core.inference.structures import structure_probabilities
from colipri_core.inference.texts import PromptPair
from colipri_core.inference.worker import ModelWorker
from colipri_core.inference.zero_shot import score
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.prompts.attention import Attention
from colipri_core.prompts.attention import Outlined
from colipri_core.provenance import Provenance
from colipri_core.report import DraftOptions
from colipri_core.report import Report
from colipri_core.report import SentenceCallback
from colipri_core.report import SentenceStore
from colipri_core.report import StoredSentence
from colipri_core.segmentation import Segmentation
from colipri_core.vocabulary.wordings import Wording
from colipri_core.vocabulary.wordings import wording
from colipri_core.volume import Volume

Result = TypeVar("Result")
Step = Callable[[Features, Reporter, Stopwatch], Result]

_ENCODING_SHARE = 0.9


class LocalSession(LabelSession):
    """Implements `colipri_core.engine.Session` in this process. Any thread may call it; calls run one after the other.

    Args:
        runtime: The loaded model.
        worker: The thread that owns it.
        volume: The volume.
        cache: Where encoded features are kept.
        labelling: The labels that are edited, and the model behind prompts.
    """

    def __init__(
        self, runtime: ModelRuntime, worker: ModelWorker, volume: Volume, cache: ArrayCache, *, labelling: Labelling
    ) -> None:
        super().__init__(volume, labelling)
        self._runtime = runtime
        self._worker = worker
        self._store: FeatureStore | None = FeatureStore(runtime, volume, cache)

    def classify(
        self,
        findings: Sequence[str] | None = None,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Findings:
        """See `colipri_core.engine.Session.classify`."""
        bundle = self._runtime.language
        texts = _texts(self._runtime.findings if findings is None else findings)
        questions = [wording(text) for text in texts]

        def step(features: Features, report: Reporter, stopwatch: Stopwatch) -> Findings:
            temperature = float(bundle.model.softmax_temperature)
            with stopwatch("text"):
                pairs = self._pairs(questions, report)
            dense = self._open_store().dense(features)
            with stopwatch("evidence"):
                peaks = evidence_peaks(features, dense, [pair.direction for pair in pairs])
            items = [
                score(
                    text,
                    pair,
                    features.pooled,
                    temperature=temperature,
                    calibration=bundle.spec.calibration,
                    peak=peak,
                )
                for text, pair, peak in zip(texts, pairs, peaks, strict=True)
            ]
            report(1.0, "Done")
            provenance = self._provenance(features, stopwatch, texts)
            return Findings(case=self._volume.name, items=tuple(items), provenance=provenance)

        return self._run(step, progress, cancel)

    def evidence(
        self, text: str, *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> EvidenceMap:
        """See `colipri_core.engine.Session.evidence`."""
        self._runtime.check_texts()
        question = wording(text)

        def step(features: Features, report: Reporter, stopwatch: Stopwatch) -> EvidenceMap:
            with stopwatch("text"):
                (pair,) = self._pairs([question], report)
            dense = self._open_store().dense(features)
            with stopwatch("map"):
                evidence = evidence_map(features, dense, pair.direction)
            report(1.0, "Done")
            return EvidenceMap(
                text=text,
                values=evidence.values,
                geometry=self._volume.geometry,
                peak_ras=evidence.peak_ras,
                peak_value=evidence.peak_value,
                provenance=self._provenance(features, stopwatch, [text]),
            )

        return self._run(step, progress, cancel)

    def _attend(
        self, text: str, *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> Attention | Outlined:
        self._runtime.check_texts()
        question = wording(text)

        def step(features: Features, report: Reporter, stopwatch: Stopwatch) -> Attention | Outlined:
            with stopwatch("text"):
                (pair,) = self._pairs([question], report)
            dense = self._open_store().dense(features)
            report(0.1, "Outlining the phrase")
            with stopwatch("outline"):
                outline = phrase_outline(self._runtime, features, self._volume, dense=dense, direction=pair.direction)
            if not outline.is_empty:
                report(1.0, "Outlined")
                return Outlined(text=text, outline=outline, model=self._runtime.card)
            report(0.4, "Looking closer")
            with stopwatch("focus"):
                return look_closer(self._runtime, features, dense, pair.direction, text, report.part(0.4, 1.0))

        return self._run(step, progress, cancel)

    def segment(
        self,
        structures: Sequence[str] | None = None,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Segmentation:
        """See `colipri_core.engine.Session.segment`."""
        runtime = self._runtime
        names = None if structures is None else _texts(structures)
        segments = chosen_segments(known_structures(runtime), names, model=runtime.bundle.spec.name)

        def step(features: Features, report: Reporter, stopwatch: Stopwatch) -> Segmentation:
            report(0.0, "Finding structures")
            with stopwatch("structures"):
                probabilities = structure_probabilities(features, self._runtime)
            prepared = features.prepared
            with stopwatch("outline"):
                labelmap = paint(
                    probabilities,
                    prepared.geometry.resampled(probabilities.shape[1:]),
                    prepared.source,
                    keep=[segment.label for segment in segments],
                    report=report.part(0.3, 1.0),
                )
            report(1.0, "Done")
            return Segmentation(
                labelmap=labelmap,
                geometry=self._volume.geometry,
                segments=segments,
                provenance=self._provenance(features, stopwatch, []),
                uncertainty=expected_error(probabilities),
            )

        return self._run(step, progress, cancel)

    def _software(self) -> tuple[dict[str, str], str]:
        return self._runtime.versions, str(self._runtime.device)

    def embedding(
        self,
        region: RegionMask | None = None,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Embedding:
        """See `colipri_core.engine.Session.embedding`."""

        def step(features: Features, report: Reporter, stopwatch: Stopwatch) -> Embedding:
            with stopwatch("embed"):
                if region is None:
                    vector = features.pooled.numpy()
                else:
                    vector = region_vector(features, self._open_store().dense(features), region)
            report(1.0, "Done")
            return Embedding(vector=vector, provenance=self._provenance(features, stopwatch, []))

        return self._run(step, progress, cancel)

    def regions(
        self, *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
    ) -> tuple[RegionEmbedding, ...]:
        """See `colipri_core.engine.Session.regions`."""

        def step(features: Features, report: Reporter, stopwatch: Stopwatch) -> tuple[RegionEmbedding, ...]:
            found = region_embeddings(features, self._open_store().dense(features))
            report(1.0, "Done")
            return found

        return self._run(step, progress, cancel)

    def similar(
        self,
        store: CaseSearch,
        k: int = 5,
        *,
        region: RegionMask | None = None,
        where: CaseFilter | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> list[Match]:
        """See `colipri_core.engine.Session.similar`."""
        check_store(store)
        query = self.embedding(region, progress=progress, cancel=cancel)
        return store.search(query, k, where=where, by_region=region is not None)

    def draft_report(
        self,
        *,
        store: SentenceStore | None = None,
        on_sentence: SentenceCallback | None = None,
        options: DraftOptions | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Report:
        """See `colipri_core.engine.Session.draft_report`."""
        self._runtime.check_texts()

        def step(features: Features, report: Reporter, stopwatch: Stopwatch) -> Report:
            def find(k: int) -> Sequence[StoredSentence]:
                assert store is not None
                provenance = self._provenance(features, stopwatch, [])
                return store.sentences(Embedding(vector=features.pooled.numpy(), provenance=provenance), k)

            request = DraftRequest(
                options=options or DraftOptions(), find=None if store is None else find, on_sentence=on_sentence
            )
            with stopwatch("draft"):
                found = draft(self._runtime, features, self._open_store().dense(features), request, report)
            return self._report(found, self._provenance(features, stopwatch, []))

        return self._run(step, progress, cancel)

    def check_sentences(
        self,
        sentences: Sequence[str],
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Report:
        """See `colipri_core.engine.Session.check_sentences`."""
        self._runtime.check_texts()
        lines = [given_line(text) for text in _texts(sentences)]

        def step(features: Features, report: Reporter, stopwatch: Stopwatch) -> Report:
            with stopwatch("check"):
                found = check(self._runtime, features, self._open_store().dense(features), lines, report)
            return self._report(found, self._provenance(features, stopwatch, []))

        return self._run(step, progress, cancel)

    def close(self) -> None:
        """Free encoded features and labels. Closing twice does nothing."""
        self._store = None
        super().close()

    def _run(self, step: Step[Result], progress: ProgressCallback | None, cancel: CancelToken | None) -> Result:
        """Encode if needed, then run one step, all on the model's thread."""
        self._open_store()

        def job(report: Reporter) -> Result:
            stopwatch = Stopwatch()
            features = self._open_store().get(report.part(0.0, _ENCODING_SHARE), stopwatch)
            return step(features, report.part(_ENCODING_SHARE, 1.0), stopwatch)

        return self._worker.run(job, progress=progress, cancel=cancel)

    def _open_store(self) -> FeatureStore:
        store = self._store
        if store is None:
            msg = "The session was closed. Open the volume again with engine.open()."
            raise SessionClosedError(msg)
        return store

    def _report(self, found: Draft, provenance: Provenance) -> Report:
        return Report(
            case=self._volume.name,
            sections=found.sections,
            unmentioned=found.unmentioned,
            threshold=found.threshold,
            provenance=provenance,
        )

    def _pairs(self, questions: Sequence[Wording], report: Reporter) -> list[PromptPair]:
        """Embed all phrasings of all questions together, then look the pairs up."""
        runtime = self._runtime
        texts = [text for question in questions for text in (*question.present, *question.absent)]
        report(0.0, "Reading the questions")
        if texts:
            runtime.on_device(lambda: runtime.texts.embed(texts, runtime.device, report))
        return [runtime.texts.pair(question, runtime.device) for question in questions]

    def _provenance(self, features: Features, stopwatch: Stopwatch, texts: Sequence[str]) -> Provenance:
        warnings = (*features.warnings, *(self._runtime.texts.warnings(texts) if texts else ()))
        return self._runtime.provenance(timings=stopwatch.seconds, warnings=warnings)


def _texts(names: Sequence[str]) -> list[str]:
    if isinstance(names, str):
        msg = f'Expected a list of names, got the text "{names}". Pass ["{names}"].'
        raise TypeError(msg)
    return list(names)
