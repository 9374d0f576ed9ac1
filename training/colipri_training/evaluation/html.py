"""The HTML report of an evaluation: one file without links to others, made from the document alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from jinja2 import Environment
from jinja2 import PackageLoader
from jinja2 import StrictUndefined

from colipri_core.io.atomic import atomic_file
from colipri_training.evaluation.figures import reliability_diagrams
from colipri_training.evaluation.figures import roc_curves
from colipri_training.evaluation.tables import Document
from colipri_training.evaluation.tables import Table
from colipri_training.evaluation.tables import calibration_table
from colipri_training.evaluation.tables import comparison_table
from colipri_training.evaluation.tables import findings_table
from colipri_training.evaluation.tables import models_table
from colipri_training.evaluation.tables import real_table
from colipri_training.evaluation.tables import reasons
from colipri_training.evaluation.tables import summary_table

_TEMPLATE = "report.html.jinja"
_ENGINE = ("zero_shot", "engine")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing:
    """A caption and its SVG."""

    caption: str
    svg: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chapter:
    """Everything about one data set."""

    title: str
    notes: tuple[str, ...]
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]


def write_html(path: Path, document: Document) -> None:
    """Write the report of an evaluation, atomically."""
    with atomic_file(path, ".html") as temporary:
        temporary.write_text(render(document), encoding="utf-8")


def render(document: Document) -> str:
    """Return the report as HTML text."""
    environment = Environment(
        loader=PackageLoader("colipri_training.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    datasets = list(dict.fromkeys(name for model in document["models"] for name in model["datasets"]))
    chapters = [_chapter(document, name) for name in datasets]
    if any("real" in model for model in document["models"]):
        chapters.append(_real_chapter(document))
    return environment.get_template(_TEMPLATE).render(
        models=models_table(document), chapters=chapters, resamples=document["resamples"], versions=document["versions"]
    )


def _chapter(document: Document, dataset: str) -> Chapter:
    sections = {model["name"]: model["datasets"][dataset] for model in document["models"]}
    notes = list(dict.fromkeys(note for section in sections.values() for note in section["notes"]))
    notes += [f"Not done for {name}: {reason}" for name, section in sections.items() for reason in reasons(section)]
    for name, section in sections.items():
        if "note" in section.get("calibration", {}):
            notes.append(f"{name}: {section['calibration']['note']}")
    candidates = [
        summary_table(document, dataset),
        comparison_table(document, dataset),
        findings_table(document, dataset, _ENGINE, "Findings, zero-shot with the prompts of the viewers"),
        *_probe_tables(document, dataset),
        *(
            calibration_table(section.get("calibration", {}), f"Calibration of {name}")
            for name, section in sections.items()
        ),
    ]
    return Chapter(
        title=dataset,
        notes=tuple(notes),
        tables=tuple(table for table in candidates if table is not None),
        drawings=tuple(_drawings(sections)),
    )


def _real_chapter(document: Document) -> Chapter:
    notes = [f"Not done for {model['name']}: {reason}" for model in document["models"] for reason in reasons(model)]
    table = real_table(document)
    return Chapter(title="Real volumes with masks", notes=tuple(notes), tables=(table,) if table else (), drawings=())


def _probe_tables(document: Document, dataset: str) -> list[Table | None]:
    pooling = _best_pooling([model["datasets"][dataset] for model in document["models"]])
    if pooling is None:
        return []
    title = f"Findings, linear probe with {pooling} pooling (the best of the first model)"
    return [findings_table(document, dataset, ("probes", "poolings", pooling), title)]


def _best_pooling(sections: list[dict[str, Any]]) -> str | None:
    poolings = sections[0].get("probes", {}).get("poolings", {})
    known = {name: part["macro"]["auroc"]["value"] for name, part in poolings.items() if part["macro"]}
    return max(known, key=known.__getitem__) if known else None


def _drawings(sections: dict[str, dict[str, Any]]) -> list[Drawing]:
    engine = {name: section.get("zero_shot", {}).get("engine", {}) for name, section in sections.items()}
    drawn = [("ROC curves, zero-shot with the prompts of the viewers", roc_curves(_rows(engine)))]
    pooling = _best_pooling(list(sections.values()))
    if pooling is not None:
        probes = {
            name: section.get("probes", {}).get("poolings", {}).get(pooling, {}) for name, section in sections.items()
        }
        drawn.append((f"ROC curves, linear probe with {pooling} pooling", roc_curves(_rows(probes))))
    quality = {name: section.get("quality", {}) for name, section in sections.items()}
    drawn.append(("Reliability of the probabilities that the viewers show", reliability_diagrams(_rows(quality))))
    for name, section in sections.items():
        rows = [row for row in section.get("calibration", {}).get("findings", ()) if "before" in row]
        sides = {side: [{"name": row["name"], **row[side]} for row in rows] for side in ("before", "after")}
        drawn.append((f"Reliability of {name} before and after calibration", reliability_diagrams(sides)))
    return [Drawing(caption=caption, svg=svg) for caption, svg in drawn if svg]


def _rows(parts: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    return {name: part.get("findings", []) for name, part in parts.items()}
