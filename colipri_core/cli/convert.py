"""`colipri convert`: a CT from one format to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from colipri_core.cli import options


def convert(
    ct: options.CT,
    output: Annotated[
        Path, typer.Argument(metavar="FILE", help="File to write: .nii.gz, .nii, .nrrd or .mha.", show_default=False)
    ],
    *,
    series: options.Series = None,
    model: options.UnusedModel = "tiny",
    device: options.UnusedDevice = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Write a CT in another format.

    Voxels keep their values and their place in the patient.
    """
    from colipri_core.cli.inputs import Inputs
    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.terminal import check_output
    from colipri_core.io import convert as convert_volume
    from colipri_core.io.suffixes import VOLUME_SUFFIXES

    check_output(output, suffixes=VOLUME_SUFFIXES)
    Inputs([ct]).check(output)
    terminal = Terminal(json=json, quiet=quiet)
    volume = convert_volume(ct, output, series=series)
    document = {
        "case": volume.name,
        "output": str(output),
        "unit": volume.unit,
        "dtype": str(volume.voxels.dtype),
        **volume.geometry.to_json(),
    }
    spacing = " x ".join(f"{value:.3g}" for value in volume.spacing)
    size = " x ".join(str(value) for value in volume.shape)
    terminal.result(document, lambda: f"{volume.name}: {size} voxels of {spacing} mm -> {output}")
    return 0
