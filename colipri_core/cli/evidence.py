"""`colipri evidence`: the heat map of a phrase, in the CT's own grid."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from colipri_core.cli import options


def evidence(
    ct: options.CT,
    *,
    text: Annotated[str, typer.Option("--text", metavar="TEXT", help="Finding or free text.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help=".nii.gz, .nii, .nrrd or .mha.", show_default=False),
    ],
    series: options.Series = None,
    model: options.Model = "tiny",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Write where the model sees a phrase.

    The map lies on the CT's own grid. Its values are differences of cosine similarities, no probabilities.
    """
    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.terminal import check_output
    from colipri_core.cli.work import ModelChoice
    from colipri_core.cli.work import opened
    from colipri_core.io import check_map_output
    from colipri_core.io import write_map
    from colipri_core.io.suffixes import VOLUME_SUFFIXES
    from colipri_core.vocabulary.wordings import wording

    wording(text)
    check_output(output, suffixes=VOLUME_SUFFIXES)
    check_map_output(output)
    terminal = Terminal(json=json, quiet=quiet)
    with opened(ct, ModelChoice(model=model, device=device), terminal, series=series) as (session, control):
        found = session.evidence(text, progress=control.progress, cancel=control.cancel)
    write_map(found, output)
    terminal.warn(found.provenance.warnings)
    document = {"case": session.volume.name, **found.to_json(), "output": str(output)}
    r, a, s = (f"{value:.1f}" for value in found.peak_ras)
    summary = f"{text}: peak {found.peak_value:+.3f} at RAS ({r}, {a}, {s}) mm -> {output}"
    terminal.result(document, lambda: f"{summary}\n{found.provenance.model.notice}")
    return 0
