"""Comparing finished runs: one row a recipe, means and spreads over its seeds, and what each cost."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from colipri_training.checkpoints import read_document
from colipri_training.config import PretrainConfig
from colipri_training.cost import step_cost

COLUMNS = {
    "validation_macro_auroc": "macro AUROC",
    "validation_pointing": "pointing",
    "retrieval/image_to_report_r1": "image to report R@1",
    "retrieval/image_to_report_r5": "R@5",
    "retrieval/image_to_report_r10": "R@10",
    "retrieval/report_to_image_r1": "report to image R@1",
    "retrieval/report_to_image_r5": "R@5",
    "retrieval/report_to_image_r10": "R@10",
}
"""Figures of the last validation that the table shows, and their headings."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """One run that has come to its last step.

    Args:
        name: Its recipe.
        seed: Its seed.
        steps: Its steps.
        petaflop: Model operations of all steps, in 10^15.
        hours: Time that the steps took.
        figures: Its last validation.
    """

    name: str
    seed: int
    steps: int
    petaflop: float
    hours: float
    figures: dict[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Finished runs side by side, recipes in the order in which they were given."""

    runs: tuple[FinishedRun, ...]

    def recipes(self) -> dict[str, list[FinishedRun]]:
        """The runs of each recipe."""
        found: dict[str, list[FinishedRun]] = {}
        for run in self.runs:
            found.setdefault(run.name, []).append(run)
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values: every run, and for every recipe mean and standard deviation of every figure."""
        summary = {
            name: {key: spread([run.figures[key] for run in runs]) for key in runs[0].figures}
            for name, runs in self.recipes().items()
        }
        return {"runs": [dataclasses.asdict(run) for run in self.runs], "recipes": summary}

    def table(self) -> str:
        """A Markdown table, a row a recipe."""
        pools = sorted({run.figures.get("retrieval/pool", 0.0) for run in self.runs})
        volumes = sorted({run.figures.get("validation_volumes", 0.0) for run in self.runs})
        heads = ["recipe", "seeds", "steps", "PFLOP", "hours", *COLUMNS.values()]
        lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
        for name, runs in self.recipes().items():
            cells = [
                name,
                str(len(runs)),
                "/".join(str(steps) for steps in sorted({run.steps for run in runs})),
                f"{statistics.mean(run.petaflop for run in runs):.2f}",
                f"{statistics.mean(run.hours for run in runs):.2f}",
                *(cell([run.figures[key] for run in runs if key in run.figures]) for key in COLUMNS),
            ]
            lines.append(f"| {' | '.join(cells)} |")
        note = f"Mean and standard deviation over seeds, on {_listed(volumes)} validation volumes; "
        return "\n".join([*lines, "", f"{note}retrieval among {_listed(pools)} reports."])


def compare(folders: Iterable[Path]) -> Comparison:
    """Read finished runs.

    Args:
        folders: Of the runs.

    Raises:
        ValueError: If one is no run, or has not come to its last step; the message names it.
    """
    return Comparison(runs=tuple(_read(folder) for folder in folders))


def _read(folder: Path) -> FinishedRun:
    missing = [name for name in ("config.json", "log.jsonl") if not (folder / name).is_file()]
    if missing:
        msg = f'Expected a finished run in "{folder}", found no {" and no ".join(missing)}. Run `pretrain` there first.'
        raise ValueError(msg)
    config = PretrainConfig.from_json(read_document(folder / "config.json"))
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    done = records[-1]["step"] if records else 0
    if done < config.optimizer.steps:
        msg = f'The run in "{folder}" stands at step {done} of {config.optimizer.steps}; run `pretrain` there again.'
        raise ValueError(msg)
    figures = {
        key: value for key, value in records[-1].items() if key.startswith(("validation_", "auroc/", "retrieval/"))
    }
    return FinishedRun(
        name=config.name,
        seed=config.seed,
        steps=config.optimizer.steps,
        petaflop=config.optimizer.steps * step_cost(config).training / 1e15,
        hours=sum(record["seconds"] for record in records) / 3600,
        figures=figures,
    )


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and standard deviation over seeds; 0 for a single one."""
    return {"mean": statistics.mean(values), "sd": statistics.stdev(values) if len(values) > 1 else 0.0}


def cell(values: Sequence[float]) -> str:
    """Mean and standard deviation as a cell of a table."""
    if not values:
        return "-"
    known = spread(values)
    return f"{known['mean']:.3f} ({known['sd']:.3f})" if len(values) > 1 else f"{known['mean']:.3f}"


def _listed(values: Sequence[float]) -> str:
    return " or ".join(f"{value:.0f}" for value in values)
