"""All figures of a bundle in one document: held-out phantoms with unseen wordings, and real CT."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from colipri_core import open_engine
from colipri_core.model.bundle import load_bundle
from colipri_core.model.tokenizer import tokenize
from colipri_training.data.phantoms import fill
from colipri_training.data.store import CaseStore
from colipri_training.evaluation import zero_shot
from colipri_training.evaluation.real_structures import evaluate as evaluate_real
from colipri_training.phantoms.case import TEST_FIRST_SEED
from colipri_training.phantoms.phrases import EVALUATION_TEMPLATES
from colipri_training.phantoms.phrases import PHRASES


def evaluate_bundle(model: str, *, cases: int, store: Path, data: Path | None, workers: int = 1) -> dict[str, Any]:
    """Measure a bundle.

    Args:
        model: Shipped bundle's name or bundle folder.
        cases: Number of test phantoms; their seeds are never trained on.
        store: Where the phantoms are kept.
        data: Folder of real volumes; None leaves them out.
        workers: Processes that generate phantoms.

    Returns:
        Plain values; "table" is the text for people.
    """
    bundle = load_bundle(model)
    spec = bundle.spec.preprocessing
    seeds = range(TEST_FIRST_SEED, TEST_FIRST_SEED + cases)
    kept = CaseStore(store)
    for _ in fill(kept, seeds, spec, workers=workers):
        pass
    texts = zero_shot.prompt_vectors(bundle.model, evaluation_prompts(), partial(tokenize, bundle.tokenizer))
    scores = zero_shot.score(bundle.model, (kept.read(seed) for seed in seeds), spec, texts)
    figures: dict[str, Any] = {"model": bundle.card.to_json(), "phantoms": zero_shot.report(scores), "real": []}
    if data is not None:
        with open_engine(model) as engine:
            figures["real"] = list(evaluate_real(engine, data))
    return figures | {"table": _table(figures)}


def evaluation_prompts() -> zero_shot.Prompts:
    """Wordings no training report contains: each template with each term of the finding."""
    return [
        (
            [present.format(x=term) for present, _ in EVALUATION_TEMPLATES for term in phrases.terms],
            [absent.format(x=term) for _, absent in EVALUATION_TEMPLATES for term in phrases.terms],
        )
        for phrases in PHRASES
    ]


def _table(figures: dict[str, Any]) -> str:
    phantoms = figures["phantoms"]
    macro, pointing = phantoms["macro_auroc"], phantoms["pointing_game_focal"]
    lines = [
        f"| finding | positive of {phantoms['cases']} | AUROC (95 % CI) | AUPRC | pointing |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {row['name']} | {row['positive']} | {row['auroc']:.3f} ({row['auroc_low']:.3f} to "
            f"{row['auroc_high']:.3f}) | {row['auprc']:.3f} | {row['pointing']:.2f} |"
            for row in phantoms["findings"]
        ),
        f"| **macro** | | **{macro['value']:.3f} ({macro['low']:.3f} to {macro['high']:.3f})** | | "
        f"**{pointing['value']:.2f} (focal)** |",
    ]
    if figures["real"]:
        lines += ["", "| real volume | structure | Dice |", "| --- | --- | ---: |"]
        lines += [f"| {row['image']} | {row['structure']} | {row['dice']:.3f} |" for row in figures["real"]]
    return "\n".join(lines)
