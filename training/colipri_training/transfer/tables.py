"""Finished downstream runs side by side: one row an encoder and use, mean and spread over seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from colipri_training.ablation import cell
from colipri_training.ablation import spread
from colipri_training.transfer.experiment import RESULT_FILE

Result = dict[str, Any]
_KEY = ("recipe", "label", "use", "fraction")
_HEADS = {
    "segmentation": ("organ Dice", "organ NSD", "lesion Dice", "lesion NSD"),
    "classification": ("macro AUROC", "macro AUPRC"),
}


def read_results(folder: Path) -> list[Result]:
    """Read the finished experiments of a folder, in the order of their names.

    Raises:
        ValueError: If there are none.
    """
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"*/{RESULT_FILE}"))]
    if not found:
        msg = f"Expected finished experiments in {folder}, found none. Run `colipri-train transfer` there first."
        raise ValueError(msg)
    return found


def figures(result: Result) -> dict[str, float]:
    """The figures of one experiment that a table shows, by heading; those that are not defined are left out."""
    if result["task"] == "segmentation":
        named = {
            f"{group} {metric}": result["groups"].get(group, {}).get(key, {}).get("value")
            for group in ("organ", "lesion")
            for key, metric in (("dice", "Dice"), ("nsd", "NSD"))
        }
    else:
        named = {f"macro {key.upper()}": result["macro"].get(key, {}).get("value") for key in ("auroc", "auprc")}
    return {name: value for name, value in named.items() if value is not None}


def summary(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row for every recipe, label, use and fraction: mean and standard deviation of every figure over the seeds."""
    rows: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        rows.setdefault(tuple(result[name] for name in _KEY), []).append(result)
    return [
        {
            **dict(zip(_KEY, key, strict=True)),
            "task": group[0]["task"],
            "seeds": sorted(result["seed"] for result in group),
            "train_cases": group[0]["train_cases"],
            "steps": sorted({result["steps"] for result in group}),
            "seconds": spread([result["seconds"] for result in group]),
            "figures": {name: spread(values) for name, values in _columns(group).items()},
            "intervals": _intervals(group[0]) if len(group) == 1 else {},
        }
        for key, group in rows.items()
    ]


def markdown(results: Sequence[Result], *, order: Sequence[str] = ()) -> str:
    """Markdown tables, one a recipe.

    Args:
        results: Finished experiments.
        order: Labels in the order of their rows; others follow.
    """
    ranks = {label: rank for rank, label in enumerate(order)}
    tables = []
    for recipe in dict.fromkeys(result["recipe"] for result in results):
        chosen = [result for result in results if result["recipe"] == recipe]
        rows = sorted(_rows(chosen), key=lambda row: (row[1], row[2], ranks.get(row[0], len(ranks))))
        heads = ("encoder", "use", "labels", "cases", "seeds", *_HEADS[chosen[0]["task"]])
        lines = [" | ".join(("---", "---", *("---:",) * (len(heads) - 2))), *(" | ".join(row[3]) for row in rows)]
        table = "\n".join(f"| {line} |" for line in (" | ".join(heads), *lines))
        tables.append(f"### {recipe}\n\n{table}\n\n{_note(chosen)}")
    return "\n\n".join(tables)


def _rows(results: Sequence[Result]) -> list[tuple[str, str, float, tuple[str, ...]]]:
    rows: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        rows.setdefault(tuple(result[name] for name in _KEY), []).append(result)
    found = []
    for (_, label, use, fraction), group in rows.items():
        columns = _columns(group)
        cells = (cell(columns.get(head, [])) for head in _HEADS[group[0]["task"]])
        line = (label, use, f"{100 * fraction:g} %", str(group[0]["train_cases"]), str(len(group)), *cells)
        found.append((label, use, fraction, line))
    return found


def _columns(group: Sequence[Result]) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {}
    for result in group:
        for name, value in figures(result).items():
            columns.setdefault(name, []).append(value)
    return columns


def _intervals(result: Result) -> dict[str, Any]:
    """95 % intervals over the test cases of a single run."""
    return result["groups"] if result["task"] == "segmentation" else result["macro"]


def _note(results: Sequence[Result]) -> str:
    cases = sorted({result["cases"] for result in results})
    steps = sorted({result["steps"] for result in results if result["use"] != "probe"})
    trained = f" after {_listed(steps)} steps" if steps else ""
    return (
        f"Mean and standard deviation over seeds, on {_listed(cases)} test sub-volumes{trained}; "
        "`result.json` of each run has 95 % bootstrap intervals over the cases."
    )


def _listed(values: Sequence[int]) -> str:
    return " or ".join(str(value) for value in values)
