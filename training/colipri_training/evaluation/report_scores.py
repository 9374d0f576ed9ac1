"""How near written reports are to the references: words shared, and findings shared.

BLEU (sacrebleu), ROUGE-L (rouge-score) and METEOR (NLTK) count words. METEOR matches exact words and Porter stems; its
third stage, WordNet synonyms, is left out because the dictionary is a download, so its values are a little below those
of papers. Clinical F1 compares the 18 findings that a labeller reads from both texts; the one that ships is rule-based.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from nltk.stem.porter import PorterStemmer
from nltk.translate.meteor_score import single_meteor_score
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from colipri_core.language.labeller import label_report
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.evaluation.bootstrap import Counts
from colipri_training.evaluation.bootstrap import estimate
from colipri_training.evaluation.bootstrap import mean_of_cases

Labeller = Callable[[str], Sequence[bool]]
"""A report to the 18 findings, in CT-RATE's order; any trained labeller fits."""

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class _NoSynonyms:
    """Stands in for WordNet: no word has another's meaning."""

    def synsets(self, word: str) -> tuple[()]:
        """Return no meanings."""
        del word
        return ()


def shipped_labeller(report: str) -> Sequence[bool]:
    """Findings by the rule-based labeller that ships with the core."""
    return label_report(report).vector


def describe(
    written: Sequence[str], references: Sequence[str], counts: Counts, *, labeller: Labeller = shipped_labeller
) -> dict[str, Any]:
    """Return all scores of reports as plain values.

    Args:
        written: The reports under test.
        references: The true ones, in the same order.
        counts: (R, N) from `bootstrap.resample_patients`.
        labeller: Reads the findings of a text.
    """
    return {
        "reports": len(written),
        "distinct": round(len(set(written)) / len(written), 5),
        "words": round(float(np.mean([len(text.split()) for text in written])), 2),
        **overlap_scores(written, references, counts),
        "clinical": clinical_scores(_labels(written, labeller), _labels(references, labeller), counts),
    }


def overlap_scores(written: Sequence[str], references: Sequence[str], counts: Counts) -> dict[str, Any]:
    """BLEU-1 to BLEU-4 of the whole set, ROUGE-L and METEOR as means with intervals; all between 0 and 1."""
    figures: dict[str, Any] = {}
    for order in (1, 2, 3, 4):
        bleu = BLEU(lowercase=True, max_ngram_order=order)
        figures[f"bleu_{order}"] = round(bleu.corpus_score(list(written), [list(references)]).score / 100, 5)
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    pairs = list(zip(written, references, strict=True))
    rouge_l = np.array([scorer.score(reference, text)["rougeL"].fmeasure for text, reference in pairs])
    meteor = np.array([meteor_without_synonyms(text, reference) for text, reference in pairs])
    figures["rouge_l"] = mean_of_cases(rouge_l, counts).to_json()
    figures["meteor"] = mean_of_cases(meteor, counts).to_json()
    return figures


def meteor_without_synonyms(written: str, reference: str) -> float:
    """METEOR (Banerjee and Lavie, 2005; NLTK's parameters) from exact words and Porter stems."""
    words = [text.lower().replace(".", " .").replace(",", " ,").split() for text in (reference, written)]
    if not all(words):
        return 0.0
    return float(single_meteor_score(*words, stemmer=PorterStemmer(), wordnet=_NoSynonyms()))


def clinical_scores(found: Bools, true: Bools, counts: Counts) -> dict[str, Any]:
    """F1 of findings, micro, macro and one by one, with micro precision and recall, as plain values.

    Args:
        found: (N, F) findings of the written reports.
        true: (N, F) findings of the references.
        counts: (R, N) from `bootstrap.resample_patients`.

    Returns:
        Macro is over the findings that occur in the references; elsewhere F1 says nothing.
    """
    value, spread = _tally(found, true, np.ones((1, len(found)))), _tally(found, true, counts)
    occurs = true.any(axis=0)
    rows = [
        {"name": name, "references": int(true[:, index].sum()), "written": int(found[:, index].sum())}
        | {"f1": _estimate(_f1, value[:, :, index], spread[:, :, index])}
        for index, name in enumerate(CT_RATE_FINDINGS)
    ]
    pooled, pooled_spread = value.sum(axis=2), spread.sum(axis=2)
    macro = [np.nan_to_num(_f1(table[:, :, occurs])) for table in (value, spread)]
    means = [table.mean(axis=1) if occurs.any() else np.full(len(table), np.nan) for table in macro]
    return {
        "macro_f1": estimate(float(means[0][0]), means[1]).to_json(),
        "micro_f1": _estimate(_f1, pooled, pooled_spread),
        "micro_precision": _estimate(_precision, pooled, pooled_spread),
        "micro_recall": _estimate(_recall, pooled, pooled_spread),
        "macro_findings": int(occurs.sum()),
        "findings": rows,
    }


def _labels(texts: Sequence[str], labeller: Labeller) -> Bools:
    return np.array([tuple(labeller(text)) for text in texts], dtype=bool)


def _tally(found: Bools, true: Bools, counts: Counts) -> Floats:
    """(3, R, F) how many findings are in both, in the written, and in the true reports."""
    return np.stack([counts @ table.astype(np.float64) for table in (found & true, found, true)])


def _estimate(metric: Callable[[Floats], Floats], value: Floats, spread: Floats) -> dict[str, float | None]:
    return estimate(float(metric(value)[0]), metric(spread)).to_json()


def _f1(tally: Floats) -> Floats:
    """2 TP / (found + true); NaN where a finding is in neither."""
    both, found, true = tally
    return _ratio(2 * both, found + true)


def _precision(tally: Floats) -> Floats:
    return _ratio(tally[0], tally[1])


def _recall(tally: Floats) -> Floats:
    return _ratio(tally[0], tally[2])


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
