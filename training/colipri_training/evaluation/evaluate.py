"""An evaluation of several bundles on the same cases: one JSON, one HTML report, and the raw predictions.

evaluation.json       every figure, with intervals, numbers of cases, thresholds and reasons for what was not done
evaluation.html       the same for people, in one file
predictions/*.csv     label and probability of every case under test
features/             what was computed of each volume; another run on the same bundle reads it
calibrated/           bundles with a fitted calibration, if asked for
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.metadata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from colipri_core import open_engine
from colipri_core.io.atomic import atomic_file
from colipri_core.io.atomic import write_json
from colipri_training.evaluation.bench import Bench
from colipri_training.evaluation.bench import OnCase
from colipri_training.evaluation.bench import RunOptions
from colipri_training.evaluation.bootstrap import estimate
from colipri_training.evaluation.bootstrap import resample_patients
from colipri_training.evaluation.cases import Source
from colipri_training.evaluation.encoder import Encoder
from colipri_training.evaluation.errors import NoCasesError
from colipri_training.evaluation.html import write_html
from colipri_training.evaluation.metrics import Predictions
from colipri_training.evaluation.metrics import macro_auroc
from colipri_training.evaluation.model_run import ModelRun
from colipri_training.evaluation.names import file_name
from colipri_training.evaluation.real_structures import evaluate as evaluate_real
from colipri_training.evaluation.real_structures import real_cases

FORMAT = 1
JSON_FILE = "evaluation.json"
HTML_FILE = "evaluation.html"
PREDICTIONS = "predictions"

_PACKAGES = ("napari-colipri", "torch", "numpy", "scikit-learn", "monai", "sacrebleu", "rouge-score", "nltk")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """Which bundles, where they run, and what is measured.

    Args:
        models: Shipped bundles' names, folders or hub ids.
        run: What is measured of each.
        device: "auto", "cpu", "cuda", ...
        real: Folder of real volumes with masks of structures; None leaves them out.
    """

    models: tuple[str, ...]
    run: RunOptions
    device: str = "auto"
    real: Path | None = None


def evaluate(sources: Sequence[Source], options: EvaluationOptions, on_case: OnCase | None = None) -> dict[str, Any]:
    """Evaluate bundles on the same cases and write the results.

    Args:
        sources: The data sets.
        options: What and how.
        on_case: Told a description, the number of encoded cases and of all.

    Returns:
        The document that was written to `evaluation.json`.

    Raises:
        NoCasesError: If there are no data sets, or one has nothing to test.
        ValueError: If two data sets have the same name.
    """
    if not sources and options.real is None:
        msg = "Expected something to evaluate on: phantoms, or a prepared data set. Found neither."
        raise NoCasesError(msg)
    if options.real is not None:
        real_cases(options.real)
    repeated = [name for name, count in Counter(source.name for source in sources).items() if count > 1]
    if repeated:
        msg = f'Expected data sets in folders of different names, found "{repeated[0]}" twice. Rename one.'
        raise ValueError(msg)
    output = options.run.output
    output.mkdir(parents=True, exist_ok=True)
    predictions: list[dict[tuple[str, str], Predictions]] = []
    models: list[dict[str, Any]] = []
    encoders = [Encoder(source, device=options.device) for source in options.models]
    for source, name, encoder in zip(options.models, _names(encoders), encoders, strict=True):
        run = ModelRun(Bench(encoder, name, sources, options.run, on_case))
        models.append(run.evaluate() | _real(source, options))
        predictions.append(run.predictions)
        _write_predictions(output / PREDICTIONS, name, run.predictions)
    document = {
        "format": FORMAT,
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "resamples": options.run.resamples,
        "models": models,
        "comparisons": _comparisons([model["name"] for model in models], predictions, options.run.resamples),
    }
    write_json(output / JSON_FILE, document)
    write_html(output / HTML_FILE, document)
    return document


def _names(encoders: Sequence[Encoder]) -> list[str]:
    """Names of the bundles, with a piece of the hash where two have the same, and a number where even that is."""
    names = [file_name(encoder.bundle.spec.name) for encoder in encoders]
    marked = [
        f"{name}-{encoder.bundle.sha256[:8]}" if names.count(name) > 1 else name
        for name, encoder in zip(names, encoders, strict=True)
    ]
    seen: Counter[str] = Counter()
    unique = []
    for name in marked:
        seen[name] += 1
        unique.append(f"{name}-{seen[name]}" if seen[name] > 1 else name)
    return unique


def _real(source: str, options: EvaluationOptions) -> dict[str, Any]:
    """Rows of the real volumes with masks, under "real", if they were asked for."""
    if options.real is None:
        return {}
    with open_engine(source, device=options.device) as engine:
        if not engine.capabilities.structures:
            return {"real": {"not_done": "The bundle has no structure head."}}
        return {"real": {"rows": list(evaluate_real(engine, options.real))}}


def _write_predictions(folder: Path, model: str, predictions: dict[tuple[str, str], Predictions]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for (dataset, method), table in predictions.items():
        path = folder / f"{file_name(f'{model}_{dataset}_{method}')}.csv"
        with (
            atomic_file(path, ".csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.writer(stream)
            sides = ("label", "probability")
            writer.writerow(["id", "patient", *(f"{side}:{name}" for name in table.findings for side in sides)])
            for row, (case, patient) in enumerate(zip(table.ids, table.patients, strict=True)):
                cells = [cell for column in range(len(table.findings)) for cell in _cells(table, row, column)]
                writer.writerow([case, patient, *cells])


def _cells(table: Predictions, row: int, column: int) -> tuple[str, str]:
    label = table.labels[row, column]
    return ("" if np.isnan(label) else str(int(label))), f"{table.probabilities[row, column]:.6f}"


def _comparisons(
    names: Sequence[str], predictions: Sequence[dict[tuple[str, str], Predictions]], resamples: int
) -> list[dict[str, Any]]:
    """Differences in macro AUROC to the first model, on the same resamples of the same cases."""
    rows = []
    for name, other in zip(names[1:], predictions[1:], strict=True):
        for key in predictions[0].keys() & other.keys():
            first, second = predictions[0][key], other[key]
            counts = resample_patients(first.patients, resamples=resamples)
            (value, spread), (base, base_spread) = macro_auroc(second, counts), macro_auroc(first, counts)
            difference = estimate(value - base, spread - base_spread).to_json()
            dataset, method = key
            rows.append(
                {"dataset": dataset, "method": method, "model": name, "than": names[0], "macro_auroc": difference}
            )
    return sorted(rows, key=lambda row: (row["dataset"], row["method"], row["model"]))
