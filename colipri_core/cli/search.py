"""`colipri search`: the cases of a store that show what a phrase says."""

from __future__ import annotations

from typing import Annotated

import typer

from colipri_core.cli import options


def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Finding or free text.", show_default=False)],
    *,
    store: options.Store,
    k: options.Count = 5,
    finding: options.OnlyFinding = "",
    tag: options.OnlyTag = "",
    sex: options.OnlySex = "",
    age: options.OnlyAge = "",
    date: options.OnlyDate = "",
    model: options.Model = "tiny",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the cases of a store that show what a phrase says, nearest first.

    The images are searched, not the reports: the phrase is compared with every part of every case.
    """
    from colipri_core.cli.filters import case_filter
    from colipri_core.cli.similar import show
    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.work import ModelChoice
    from colipri_core.cli.work import opened_store
    from colipri_core.vocabulary.wordings import wording

    wording(text)  # empty text is refused before anything is read
    terminal = Terminal(json=json, quiet=quiet)
    where = case_filter(finding=finding, tag=tag, sex=sex, age=age, date=date)
    with opened_store(store, ModelChoice(model=model, device=device), terminal) as (engine, cases, _):
        query = engine.embed_text(text, contrast=True)
        matches = cases.search(query, k, where=where, by_region=True)
    terminal.warn(query.provenance.warnings)
    show(terminal, matches, query.provenance.model, cases)
