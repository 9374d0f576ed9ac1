"""An evaluation's document as tables of texts, the models side by side: for the HTML report and the terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]
Section = dict[str, Any]

_NONE = "-"
_REPORTS = {"generated": "written", "nearest": "nearest training case", "most_frequent": "most frequent report"}
_DIRECTIONS = {"volume_to_report": "volume to report", "report_to_volume": "report to volume"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A heading, the names of the columns and the rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def models_table(document: Document) -> Table:
    """Which bundles were evaluated."""
    rows = [
        (
            model["name"],
            model["card"]["sha256"][:12],
            model["card"]["training_data"],
            "yes" if model["card"]["synthetic"] else "no",
            model["device"],
        )
        for model in document["models"]
    ]
    columns = ("model", "weights (SHA-256)", "trained on", "generated data only", "device")
    return Table(title="Models", columns=columns, rows=tuple(rows))


def summary_table(document: Document, dataset: str) -> Table:
    """The main figures of a data set: a row a figure, a column a model."""
    sections = [model["datasets"][dataset] for model in document["models"]]
    lines = ((name, [_at(section, *path) for section in sections]) for name, *path in _places(sections))
    rows = tuple((name, *map(_text, found)) for name, found in lines if any(value is not None for value in found))
    return Table(title="Summary", columns=("figure", *_names(document)), rows=rows)


def findings_table(document: Document, dataset: str, method: tuple[str, ...], title: str) -> Table | None:
    """AUROC and AUPRC of each finding; None if no model has them.

    Args:
        document: The evaluation.
        dataset: Which data set.
        method: Where the figures stand in a section, such as ("zero_shot", "engine").
        title: Heading.
    """
    by_model = {model["name"]: _at(model["datasets"][dataset], *method) or {} for model in document["models"]}
    names = list(dict.fromkeys(row["name"] for part in by_model.values() for row in part.get("findings", ())))
    if not names:
        return None
    rows = []
    for name in names:
        found = [_named(name, part.get("findings", ())) for part in by_model.values()]
        first = next(row for row in found if row)
        cells = [cell for row in found for cell in (interval(row.get("auroc")), *_values(row))]
        rows.append((name, f"{first['positive']} / {first['positive'] + first['negative']}", *cells))
    figures = ("AUROC", "AUPRC", "F1", "balanced accuracy")
    columns = ("finding", "positive", *(f"{name}: {figure}" for name in by_model for figure in figures))
    return Table(title=title, columns=columns, rows=tuple(rows))


def comparison_table(document: Document, dataset: str) -> Table | None:
    """Differences in macro AUROC to the first model; None with one model."""
    rows = tuple(
        (row["method"], f"{row['model']} - {row['than']}", interval(row["macro_auroc"], signed=True))
        for row in document["comparisons"]
        if row["dataset"] == dataset
    )
    return Table(title="Paired differences", columns=("method", "models", "macro AUROC"), rows=rows) if rows else None


def real_table(document: Document) -> Table | None:
    """Overlap on real volumes; None if there are none."""
    parts = {model["name"]: _at(model, "real", "rows") or () for model in document["models"]}
    by_model = {name: {(row["image"], row["structure"]): row for row in rows} for name, rows in parts.items()}
    keys = list(dict.fromkeys(key for rows in by_model.values() for key in rows))
    if not keys:
        return None
    columns = ("real volume", "structure", *(f"{name}: {figure}" for name in by_model for figure in ("Dice", "NSD")))
    rows = tuple(
        (*key, *(number(rows.get(key, {}).get(figure)) for rows in by_model.values() for figure in ("dice", "nsd")))
        for key in keys
    )
    return Table(title="Overlap with the masks", columns=columns, rows=rows)


def calibration_table(section: Section, title: str) -> Table | None:
    """Slope, offset, Brier score and calibration error of each finding, before and after; None without them."""
    if not section.get("mean") or "before" not in section["mean"]:
        return None
    rows = [
        (row["name"], f"{row['slope']:.3f}", f"{row['offset']:.3f}", *_before_after(row))
        if "before" in row
        else (row["name"], row["note"], *(_NONE,) * 5)
        for row in section["findings"]
    ]
    rows.append((f"mean of {section['calibrated']}", "", "", *_before_after(section["mean"])))
    columns = ("finding", "a", "b", "Brier before", "Brier after", "ECE before", "ECE after")
    return Table(title=title, columns=columns, rows=tuple(rows))


def reasons(section: Section) -> list[str]:
    """Why parts of a section were not done."""
    found = []
    for name, part in section.items():
        for place, inner in ((name, part), *(((f"{name}, {key}"), value) for key, value in _items(part))):
            if isinstance(inner, dict) and "not_done" in inner:
                found.append(f"{place.replace('_', ' ')}: {inner['not_done']}")
    return found


def interval(figure: dict[str, float | None] | None, *, signed: bool = False) -> str:
    """Value and interval with three decimals, or a dash where it is not defined."""
    if not figure or figure["value"] is None:
        return _NONE
    style = "+.3f" if signed else ".3f"
    if figure["low"] is None or figure["high"] is None:
        return format(figure["value"], style)
    return f"{figure['value']:{style}} ({figure['low']:{style}} to {figure['high']:{style}})"


def number(value: float | None) -> str:
    """Three decimals, or a dash."""
    return _NONE if value is None else f"{value:.3f}"


def _places(sections: Sequence[Section]) -> Iterator[tuple[str, ...]]:
    """Name of each line of the summary, and where its figure stands in a section."""
    yield "cases", "cases"
    yield "patients", "patients"
    for name in _keys(sections, "zero_shot"):
        yield f"zero-shot, {name} prompts: macro AUROC", "zero_shot", name, "macro", "auroc"
    for figure, shown in (("auprc", "AUPRC"), ("f1", "F1"), ("balanced_accuracy", "balanced accuracy")):
        yield f"zero-shot, engine prompts: macro {shown}", "zero_shot", "engine", "macro", figure
    yield "zero-shot, engine prompts: mean Brier score", "quality", "mean", "brier"
    yield "zero-shot, engine prompts: mean calibration error", "quality", "mean", "ece"
    yield "pointing game, focal findings", "pointing", "focal"
    for name in _keys(sections, "probes", "poolings"):
        yield f"linear probe, {name} pooling: macro AUROC", "probes", "poolings", name, "macro", "auroc"
    yield "retrieval: pool", "retrieval", "pool"
    for key, direction in _DIRECTIONS.items():
        for depth in _keys(sections, "retrieval", key):
            if depth.startswith("recall"):
                yield f"{direction}: recall at {depth.rsplit('_', 1)[1]}", "retrieval", key, depth
        yield f"{direction}: mean reciprocal rank", "retrieval", key, "mean_reciprocal_rank"
    for kind, shown in _REPORTS.items():
        for figure in ("bleu_1", "bleu_4", "rouge_l", "meteor", "distinct"):
            yield f"report, {shown}: {figure.replace('_', '-').upper()}", "reports", kind, figure
        for figure in ("micro_f1", "macro_f1"):
            yield f"report, {shown}: clinical {figure.replace('_', ' ')}", "reports", kind, "clinical", figure
    yield "structures: cases", "structures", "cases"
    yield "structures: mean Dice", "structures", "mean", "dice"
    yield "structures: mean NSD (3 mm)", "structures", "mean", "nsd"


def _keys(sections: Sequence[Section], *path: str) -> list[str]:
    parts = (_at(section, *path) for section in sections)
    return list(dict.fromkeys(key for part in parts if part for key in part if key != "not_done"))


def _at(section: Any, *path: str) -> Any:
    for name in path:
        section = section.get(name) if isinstance(section, dict) else None
    return section


def _text(value: dict[str, float | None] | float | None) -> str:
    if isinstance(value, dict):
        return interval(value)
    return str(value) if isinstance(value, int) else number(value)


def _names(document: Document) -> tuple[str, ...]:
    return tuple(model["name"] for model in document["models"])


def _named(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return next((row for row in rows if row["name"] == name), {})


def _values(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(number((row.get(figure) or {}).get("value")) for figure in ("auprc", "f1", "balanced_accuracy"))


def _before_after(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(number(row[side][figure]) for figure in ("brier", "ece") for side in ("before", "after"))


def _items(part: Any) -> list[tuple[str, Any]]:
    return list(part.items()) if isinstance(part, dict) else []
