"""`colipri segment`: outlines of structures, in the CT's own grid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

from colipri_core.cli import options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from colipri_core.segmentation import Segmentation


def segment(
    ct: options.CT,
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help=".nii.gz, .nii, .nrrd, .mha, .seg.nrrd or .dcm.", show_default=False
        ),
    ],
    structure: Annotated[
        list[str] | None,
        typer.Option("--structure", metavar="NAME", help="Structure; repeat for more.", show_default=False),
    ] = None,
    series: options.Series = None,
    model: options.Model = "tiny",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Write a labelmap of structures.

    It lies on the CT's own grid; the suffix of the file decides the format.
    """
    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.terminal import check_output
    from colipri_core.cli.work import ModelChoice
    from colipri_core.cli.work import opened
    from colipri_core.io import write_labelmap
    from colipri_core.io.suffixes import LABELMAP_SUFFIXES

    check_output(output, suffixes=LABELMAP_SUFFIXES)
    terminal = Terminal(json=json, quiet=quiet)
    with opened(ct, ModelChoice(model=model, device=device), terminal, series=series) as (session, control):
        found = session.segment(structure, progress=control.progress, cancel=control.cancel)
    write_labelmap(found, output, source=session.volume)
    if found.provenance is not None:
        terminal.warn(found.provenance.warnings)
    document = {"case": session.volume.name, **found.to_json(), "output": str(output)}
    terminal.result(document, lambda: _table(found))
    return 0


def _table(segmentation: Segmentation) -> RenderableType:
    from rich.table import Table

    notice = segmentation.provenance.model.notice if segmentation.provenance else ""
    table = Table(caption=notice)
    table.add_column("label", justify="right")
    table.add_column("structure")
    table.add_column("volume (mL)", justify="right")
    volumes = segmentation.volumes_ml()
    for item in segmentation.segments:
        table.add_row(str(item.label), item.name, f"{volumes[item.name]:.1f}")
    return table
