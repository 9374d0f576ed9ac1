"""`colipri similar`: the cases of a store that are most like a CT."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Sized
from typing import TYPE_CHECKING

from colipri_core.cli import options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from colipri_core.cases import CaseSearch
    from colipri_core.cases import Match
    from colipri_core.cli.terminal import Terminal
    from colipri_core.provenance import ModelCard


def similar(
    ct: options.CT,
    *,
    store: options.Store,
    k: options.Count = 5,
    finding: options.OnlyFinding = "",
    tag: options.OnlyTag = "",
    sex: options.OnlySex = "",
    age: options.OnlyAge = "",
    date: options.OnlyDate = "",
    series: options.Series = None,
    model: options.Model = "tiny",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the cases of a store that are most like a CT, nearest first.

    A distance is 1 - cosine similarity, in [0, 2]: it ranks cases, it is no probability. The CT itself is among them
    if it is in the store.
    """
    from colipri_core.cli.filters import case_filter
    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.work import ModelChoice
    from colipri_core.cli.work import opened_store
    from colipri_core.io import read_volume

    terminal = Terminal(json=json, quiet=quiet)
    where = case_filter(finding=finding, tag=tag, sex=sex, age=age, date=date)
    volume = read_volume(ct, series=series)
    with opened_store(store, ModelChoice(model=model, device=device), terminal) as (engine, cases, control):
        with engine.open(volume) as session:
            query = session.embedding(progress=control.progress, cancel=control.cancel)
        matches = cases.search(query, k, where=where)
    terminal.warn(query.provenance.warnings)
    show(terminal, matches, query.provenance.model, cases)


def show(terminal: Terminal, matches: Sequence[Match], card: ModelCard, cases: CaseSearch) -> None:
    """Write matches, and the model that ranked them.

    Args:
        terminal: The streams of the command.
        matches: Nearest first.
        card: The model.
        cases: The store that was searched.
    """
    if isinstance(cases, Sized) and not len(cases):
        terminal.warn(["The store has no cases yet. Add some: colipri index add STORE CT..."])
    document = {"matches": [match.to_json() for match in matches], "model": card.to_json()}
    terminal.result(document, lambda: _table(matches, card))


def _table(matches: Sequence[Match], card: ModelCard) -> RenderableType:
    from rich.table import Table

    table = Table(caption=card.notice)
    for column in ("distance", "case", "findings", "report", "path"):
        table.add_column(column, max_width=48)
    for match in matches:
        report = " ".join(match.report.split())[:160]
        table.add_row(f"{match.distance:.4f}", match.case, ", ".join(match.findings), report, match.path)
    return table
