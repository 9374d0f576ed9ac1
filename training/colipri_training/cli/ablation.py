"""`colipri-train cost` and `compare`: what recipes cost, and what finished runs came to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

_TERA = 1e12


def cost(
    recipes: Annotated[
        list[str],
        typer.Argument(metavar="RECIPE | KEY=VALUE", help="Recipes to count, and fields as with --set."),
    ],
    like: Annotated[str | None, typer.Option(help="Recipe whose total cost the others are to match.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Its steps; those of its config if omitted.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Set a field of every config otherwise; repeatable.")
    ] = None,
    vocabulary: Annotated[int, typer.Option(min=1, help="Word pieces of the tokenizer.")] = 4096,
) -> None:
    """Print, a line a recipe, its name, TFLOP a step, and steps: its own, or those that cost as much as LIKE."""
    import dataclasses

    from colipri_training.cost import step_cost
    from colipri_training.cost import steps_of_equal_cost
    from colipri_training.recipes.registry import recipe

    changes = [*(settings or ()), *(word for word in recipes if "=" in word)]
    target = None if like is None else recipe(like, vocabulary).changed(changes)
    if target is not None and steps is not None:
        target = dataclasses.replace(target, optimizer=dataclasses.replace(target.optimizer, steps=steps))
    for name in (word for word in recipes if "=" not in word):
        config = recipe(name, vocabulary).changed(changes)
        number = config.optimizer.steps if target is None else steps_of_equal_cost(config, target)
        typer.echo(f"{name} {step_cost(config).training / _TERA:.4g} {number}")


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs; those of one recipe become one row.")],
    output: Annotated[Path | None, typer.Option(help="JSON file for all figures.")] = None,
) -> None:
    """Print a table of runs: last validation, mean and spread over seeds, steps, operations and hours."""
    from colipri_training.ablation import compare as compare_runs

    comparison = compare_runs(runs)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(comparison.to_json(), indent=1) + "\n", encoding="utf-8")
    typer.echo(comparison.table())
