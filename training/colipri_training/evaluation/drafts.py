"""Draft reports on phantoms: are they right, do they point at the lesion, and do their flags find what is wrong?

A sentence is false if it affirms a finding the phantom does not have or denies one it has; wrong places and degrees do
not count. Flags are judged on the draft's own sentences, and on given ones: the phantom's own report (true) and those
sentences of the next phantom's report that are false here. All of this is our choice.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from colipri_core.engine import Engine
from colipri_core.geometry import VolumeGeometry
from colipri_core.language.assertions import Assertion
from colipri_core.language.labeller import label_report
from colipri_core.language.labeller import label_sentence
from colipri_core.report import DraftOptions
from colipri_core.report import Flag
from colipri_core.report import Place
from colipri_core.report import Report
from colipri_core.report import ReportSentence
from colipri_core.session import Session
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_core.volume import Volume
from colipri_training.data.store import StoredCase
from colipri_training.evaluation.bootstrap import estimate
from colipri_training.evaluation.bootstrap import resample_patients
from colipri_training.phantoms.grid import PhantomGrid

WARNING_FLAGS = frozenset({Flag.CONTRADICTED, Flag.SIDE_DISPUTED, Flag.PLACE_DISPUTED})
"""Flags that say a sentence may be wrong; the others say that nobody knows."""

_RESAMPLES = 200
_FOCAL = {concept.name for concept in CT_RATE_CONCEPTS if concept.focal}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """A sentence and what is true of it.

    Args:
        is_true: Whether the phantom is as it says.
        flags: The flags that say it may be wrong.
    """

    is_true: bool
    flags: frozenset[Flag]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaseResult:
    """One phantom's draft.

    Args:
        text: The draft's words.
        labels: (F,) whether the phantom has each finding.
        said: (F,) whether the draft says so.
        place_hits: For each true sentence that affirms a focal finding, whether its place is near the lesion.
        attention_hits: The same for where the decoder looked.
        own: The draft's sentences.
        given: Given sentences.
        first_sentence_s: Seconds from asking to the first sentence, the volume being encoded.
    """

    text: str
    labels: tuple[bool, ...]
    said: tuple[bool, ...]
    place_hits: tuple[bool, ...]
    attention_hits: tuple[bool, ...]
    own: tuple[Judged, ...]
    given: tuple[Judged, ...]
    first_sentence_s: float


def measure(
    engine: Engine,
    cases: Sequence[StoredCase],
    spacing_mm: tuple[float, float, float],
    options: DraftOptions | None = None,
) -> list[CaseResult]:
    """Draft a report of every phantom and judge it.

    Args:
        engine: The model.
        cases: Phantoms; their order decides whose sentences are given to whom.
        spacing_mm: Spacing of their grid.
        options: How the drafts are made.
    """
    return [
        _case(engine, case, others=cases[(number + 1) % len(cases)], spacing_mm=spacing_mm, options=options)
        for number, case in enumerate(cases)
    ]


def summary(results: Sequence[CaseResult]) -> dict:
    """All figures as plain values, with 95 % bootstrap intervals over cases.

    Args:
        results: What `measure` returned.
    """
    metrics = {
        "macro_f1": lambda picked: _macro_f1([results[index] for index in picked]),
        "place_overlap": lambda picked: _share(hit for index in picked for hit in results[index].place_hits),
        "attention_overlap": lambda picked: _share(hit for index in picked for hit in results[index].attention_hits),
    }
    for name in ("own", "given"):
        for truth, key in ((False, "flag_sensitivity"), (True, "flag_rate_on_true")):
            metrics[f"{name}_{key}"] = lambda picked, name=name, truth=truth: _flagged(results, picked, name, truth)
    whole = np.arange(len(results))
    return {
        "cases": len(results),
        "distinct_drafts": len({result.text for result in results}) / len(results),
        "first_sentence_s_median": round(float(np.median([result.first_sentence_s for result in results])), 4),
        "counts": _counts(results),
        **{name: _with_interval(metric, whole) for name, metric in metrics.items()},
    }


def is_true(text: str, present: frozenset[str]) -> bool | None:
    """Whether a sentence holds for a phantom; None if it names no finding.

    Args:
        text: The sentence.
        present: Names of the findings the phantom has.
    """
    mentions = label_sentence(text)
    if not mentions:
        return None
    return all((mention.assertion is not Assertion.ABSENT) == (mention.finding in present) for mention in mentions)


def is_near(place: Place | None, case: StoredCase, finding: str, geometry: VolumeGeometry, reach_mm: float) -> bool:
    """Whether a place lies within `reach_mm` of a voxel of a finding.

    Args:
        place: RAS+ mm.
        case: The phantom.
        finding: CT-RATE's name.
        geometry: The phantom's grid.
        reach_mm: One patch of the model, which is as fine as its maps are.
    """
    voxels = np.argwhere((case.lesions >> CT_RATE_FINDINGS.index(finding)) & 1)
    if place is None or not len(voxels):
        return False
    distances = np.linalg.norm(geometry.index_to_world(voxels) - np.asarray(place), axis=1)
    return bool(distances.min() <= reach_mm)


def _case(
    engine: Engine,
    case: StoredCase,
    *,
    others: StoredCase,
    spacing_mm: tuple[float, float, float],
    options: DraftOptions | None,
) -> CaseResult:
    shape = (case.hu.shape[0], case.hu.shape[1], case.hu.shape[2])
    affine = PhantomGrid(shape=shape, spacing=spacing_mm).affine
    volume = Volume(voxels=case.hu, affine=affine, name=f"{case.seed:07d}")
    present = frozenset(CT_RATE_FINDINGS[index] for index in case.present)
    with engine.open(volume) as session:
        session.classify(CT_RATE_FINDINGS[:1])
        report, first = _timed_draft(session, options)
        given = _given(session, case, others, present)
    hits = [item for item in report if _affirms_truly(item, present)]
    reach = 8 * max(spacing_mm)
    near = [
        tuple(
            is_near(place(item), case, item.finding or "", volume.geometry, reach)
            for item in hits
            if place(item) is not None
        )
        for place in (lambda item: item.place_ras, lambda item: item.support.attention_ras)
    ]
    return CaseResult(
        text=report.text,
        labels=tuple(name in present for name in CT_RATE_FINDINGS),
        said=label_report(report.text).vector,
        place_hits=near[0],
        attention_hits=near[1],
        own=_judged(report, present),
        given=given,
        first_sentence_s=first,
    )


def _timed_draft(session: Session, options: DraftOptions | None) -> tuple[Report, float]:
    start, seen = time.perf_counter(), []
    report = session.draft_report(options=options, on_sentence=lambda _: seen.append(time.perf_counter() - start))
    return report, seen[0] if seen else float("nan")


def _given(session: Session, case: StoredCase, others: StoredCase, present: frozenset[str]) -> tuple[Judged, ...]:
    own = [sentence.text for sentence in case.sentences]
    false = [sentence.text for sentence in others.sentences if is_true(sentence.text, present) is False]
    return _judged(session.check_sentences([*own, *false]), present)


def _judged(report: Report, present: frozenset[str]) -> tuple[Judged, ...]:
    judged = []
    for sentence in report:
        truth = is_true(sentence.text, present)
        if truth is not None:
            judged.append(Judged(is_true=truth, flags=WARNING_FLAGS.intersection(sentence.flags)))
    return tuple(judged)


def _affirms_truly(sentence: ReportSentence, present: frozenset[str]) -> bool:
    return sentence.is_affirmed and sentence.finding in _FOCAL & present


def _macro_f1(results: Sequence[CaseResult]) -> float:
    """Mean F1 over the findings that occur or are said."""
    labels, said = (np.array([getattr(result, name) for result in results]) for name in ("labels", "said"))
    both, either = (labels & said).sum(axis=0), labels.sum(axis=0) + said.sum(axis=0)
    known = either > 0
    return float((2 * both[known] / either[known]).mean()) if known.any() else float("nan")


def _share(hits: Iterable[bool]) -> float:
    values = list(hits)
    return float(np.mean(values)) if values else float("nan")


def _flagged(results: Sequence[CaseResult], picked: Iterable[int], name: str, truth: bool) -> float:
    return _share(
        bool(item.flags) for index in picked for item in getattr(results[index], name) if item.is_true == truth
    )


def _counts(results: Sequence[CaseResult]) -> dict[str, int]:
    counts = {"focal_positive_sentences": sum(len(result.place_hits) for result in results)}
    for name in ("own", "given"):
        judged = [item for result in results for item in getattr(result, name)]
        counts[f"{name}_true"] = sum(item.is_true for item in judged)
        counts[f"{name}_false"] = len(judged) - counts[f"{name}_true"]
    return counts


def _with_interval(metric, whole: npt.NDArray[np.intp]) -> dict[str, float | None]:
    value = metric(whole)
    counts = resample_patients([str(case) for case in whole], resamples=_RESAMPLES).astype(int)
    return estimate(value, np.array([metric(np.repeat(whole, times)) for times in counts])).to_json()
