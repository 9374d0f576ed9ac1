"""`colipri evidence`: the heat map of a phrase, in the CT's own grid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer

from colipri_core.cli import options

if TYPE_CHECKING:
    from colipri_core.cli.work import Control
    from colipri_core.findings import EvidenceMap
    from colipri_core.session import Session
    from colipri_core.volume import Volume


def evidence(
    ct: options.CTs,
    *,
    text: Annotated[str, typer.Option("--text", metavar="TEXT", help="Finding or free text.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help=".nii.gz, .nii, .nrrd or .mha; of several CTs a folder.",
            show_default=False,
        ),
    ],
    suffix: options.Suffix = ".nii.gz",
    series: options.Series = None,
    model: options.Model = "tiny",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Write where the model sees a phrase.

    The map lies on the CT's own grid. Its values are differences of cosine similarities, no probabilities. Several CTs,
    or a folder of scans, give {"cases": [...]}, as `classify` does.
    """
    from colipri_core.cli.batch import Outputs
    from colipri_core.cli.batch import check_folder
    from colipri_core.cli.batch import each
    from colipri_core.cli.batch import scans_of
    from colipri_core.cli.inputs import Inputs
    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.terminal import check_output
    from colipri_core.cli.work import ModelChoice
    from colipri_core.cli.work import opened
    from colipri_core.cli.work import opened_engine
    from colipri_core.io import check_map_output
    from colipri_core.io.suffixes import VOLUME_SUFFIXES
    from colipri_core.io.write import sidecar
    from colipri_core.vocabulary.wordings import wording

    wording(text)
    scans = scans_of(ct, series=series)
    in_folder = scans is not None or output.is_dir()
    if in_folder:
        check_folder(output, suffix=suffix, suffixes=VOLUME_SUFFIXES, what="maps")
    else:
        check_output(output, suffixes=VOLUME_SUFFIXES)
    terminal, choice = Terminal(json=json, quiet=quiet), ModelChoice(model=model, device=device)
    outputs = Outputs(output, description=text, kind="map", suffix=suffix)
    inputs = Inputs(ct if scans is None else [scan.path for scan in scans])

    def check(volume: Volume) -> None:
        place = outputs.name(volume.name) if in_folder else output
        inputs.check(place, sidecar(place))
        check_map_output(place)

    def work(session: Session, control: Control) -> tuple[dict[str, Any], str]:
        case = session.volume.name
        place = outputs.take(case) if in_folder else output
        found = session.evidence(text, progress=control.progress, cancel=control.cancel)
        terminal.warn([f"{case}: {text}" if scans else text for text in found.provenance.warnings])
        return _written(found, case, place)

    if scans is None:
        with opened(ct[0], choice, terminal, series=series, check=check) as (session, control):
            document, summary = work(session, control)
        terminal.result(document, lambda: summary)
        return 0
    with opened_engine(choice, terminal) as (engine, control):
        return each(scans, engine, terminal, lambda session: work(session, control), series=series, check=check)


def _written(found: EvidenceMap, case: str, output: Path) -> tuple[dict[str, Any], str]:
    """Write a map; return its JSON values and a summary for people."""
    from colipri_core.io import write_map

    write_map(found, output)
    document = {"case": case, **found.to_json(), "output": str(output)}
    r, a, s = (f"{value:.1f}" for value in found.peak_ras)
    summary = f"{case}: {found.text}: peak {found.peak_value:+.3f} at RAS ({r}, {a}, {s}) mm -> {output}"
    return document, f"{summary}\n{found.provenance.model.notice}"
