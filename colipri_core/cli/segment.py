"""`colipri segment`: outlines of structures, or of what prompts point at, in the CT's own grid."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer

from colipri_core.cli import options
from colipri_core.engine import SHIPPED_CLICKS

if TYPE_CHECKING:
    from rich.console import RenderableType

    from colipri_core.cli.inputs import Inputs
    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.work import Control
    from colipri_core.prompts import Prompt
    from colipri_core.segmentation import Segmentation
    from colipri_core.session import Session
    from colipri_core.volume import Volume


_LONGEST_NAME = 60
"""Characters of a phrase that an object is named after."""


class Surface(enum.StrEnum):
    """Formats of surfaces."""

    STL = "stl"
    OBJ = "obj"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be outlined.

    Args:
        structures: Names of structures; None for all.
        prompts: What to point at instead; empty for structures.
        name: Name of the object the prompts make.
        surface: Format of surfaces to write as well; None for none.
    """

    structures: Sequence[str] | None
    prompts: tuple[Prompt, ...]
    name: str
    surface: Surface | None


Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help=".nii.gz, .nii, .nrrd, .mha, .seg.nrrd or .dcm; of several CTs a folder.",
        show_default=False,
    ),
]
Structures = Annotated[
    list[str] | None,
    typer.Option("--structure", metavar="NAME", help="Structure; repeat for more.", show_default=False),
]
Log = Annotated[
    Path | None, typer.Option("--log", metavar="JSON", help="Write the edits, to be replayed.", show_default=False)
]


def segment(
    ct: options.CTs,
    *,
    output: Output,
    structure: Structures = None,
    point: options.Points = None,
    box: options.Boxes = None,
    scribble: options.Scribbles = None,
    lasso: options.Lassos = None,
    phrase: options.Phrases = None,
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="Name of what prompts outline.")] = "",
    log: Log = None,
    surface: Annotated[
        Surface | None,
        typer.Option("--surface", help="Write the surface of each object beside it.", show_default=False),
    ] = None,
    suffix: options.Suffix = ".nii.gz",
    series: options.Series = None,
    model: options.Model = "tiny",
    clicks_model: options.ClicksModel = SHIPPED_CLICKS,
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Write a labelmap of structures, or of what points, boxes, strokes and phrases show.

    It lies on the CT's own grid; the suffix of the file decides the format. Prompts make one object: phrases are
    answered first, then boxes, lassos, scribbles and points, each in the order given. Several CTs, or a folder of
    scans, give {"cases": [...]}, as `classify` does.
    """
    from colipri_core.cli.batch import Outputs
    from colipri_core.cli.batch import each
    from colipri_core.cli.batch import scans_of
    from colipri_core.cli.inputs import Inputs
    from colipri_core.cli.prompts import PromptTexts
    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.work import ModelChoice
    from colipri_core.cli.work import opened
    from colipri_core.cli.work import opened_engine
    from colipri_core.editing.objects import name_from
    from colipri_core.io import check_labelmap_output
    from colipri_core.io.atomic import write_json

    texts = PromptTexts(
        phrases=phrase or (), boxes=box or (), lassos=lasso or (), scribbles=scribble or (), points=point or ()
    )
    wish = Wish(
        structures=structure,
        prompts=texts.parsed(),
        name=name or name_from(next(iter(texts.phrases), "")),
        surface=surface,
    )
    terminal = Terminal(json=json, quiet=quiet)
    choice = ModelChoice(model=model, device=device, clicks_model=clicks_model)
    terminal.warn(choice.notices)
    _check(wish, needs_prompt=bool(name or log))
    scans = scans_of(ct, series=series)
    _check_outputs(output, log, suffix, is_batch=scans is not None)
    description = "prompted" if wish.prompts else "structures"
    outputs = Outputs(output, description=description, kind="dseg", suffix=suffix) if output.is_dir() else None
    inputs = Inputs(ct if scans is None else [scan.path for scan in scans])

    def work(session: Session, control: Control) -> tuple[dict[str, Any], RenderableType]:
        place = output if outputs is None else outputs.take(session.volume.name)
        found = _outlined(session, wish, control)
        document = _written(found, session, wish, place, terminal=terminal, inputs=inputs)
        return document, _table(found, title=session.volume.name if scans else None)

    def check(volume: Volume) -> None:
        place = output if outputs is None else outputs.name(volume.name)
        _check_files(place, log, inputs)
        check_labelmap_output(place, source=volume)

    if scans is None:
        with opened(ct[0], choice, terminal, series=series, check=check) as (session, control):
            document, table = work(session, control)
            if log is not None:
                write_json(log, session.edit_log())
        terminal.result(document, lambda: table)
        return 0
    with opened_engine(choice, terminal) as (engine, control):
        return each(scans, engine, terminal, lambda session: work(session, control), series=series, check=check)


def _check(wish: Wish, *, needs_prompt: bool) -> None:
    if wish.structures and wish.prompts:
        msg = "Expected structures to outline or prompts to answer, got both. Run the command once for each."
        raise ValueError(msg)
    if needs_prompt and not wish.prompts:
        msg = "Expected a prompt to go with --name or --log, got none. Add --point, --box or --phrase."
        raise ValueError(msg)


def _check_outputs(output: Path, log: Path | None, suffix: str, *, is_batch: bool) -> None:
    """Refuse outputs before any work is done for them."""
    from colipri_core.cli.batch import check_folder
    from colipri_core.cli.terminal import check_output
    from colipri_core.io.suffixes import LABELMAP_SUFFIXES

    if is_batch or output.is_dir():
        check_folder(output, suffix=suffix, suffixes=LABELMAP_SUFFIXES, what="labelmaps")
    else:
        check_output(output, suffixes=LABELMAP_SUFFIXES)
    if log is None:
        return
    if is_batch:
        msg = "Expected no --log with several CTs, got one. Run the command once for each CT."
        raise ValueError(msg)
    check_output(log, suffixes=(".json",))


def _check_files(output: Path, log: Path | None, inputs: Inputs) -> None:
    """Refuse files that would take the place of an input, or of one another."""
    from colipri_core.cli.inputs import same_file
    from colipri_core.io.write import sidecar

    beside = sidecar(output)
    inputs.check(output, beside, *(() if log is None else (log,)))
    if log is not None and any(same_file(log, other) for other in (output, beside)):
        msg = f'Expected two files, got "{log.name}" for the log, which goes with "{output.name}". Rename one.'
        raise ValueError(msg)


def _outlined(session: Session, wish: Wish, control: Control) -> Segmentation:
    if not wish.prompts:
        return session.segment(wish.structures, progress=control.progress, cancel=control.cancel)
    from colipri_core.editing.edits import AddObject

    session.edit(AddObject(name=wish.name, label=1))
    for prompt in wish.prompts:
        session.prompt(prompt, label=1, progress=control.progress, cancel=control.cancel)
    return session.segmentation


def _written(
    found: Segmentation, session: Session, wish: Wish, output: Path, *, terminal: Terminal, inputs: Inputs
) -> dict[str, Any]:
    from colipri_core.io import write_labelmap
    from colipri_core.io import write_surfaces
    from colipri_core.io.suffixes import without_suffix
    from colipri_core.io.surface import surface_files

    beside = output.with_name(without_suffix(output.name))
    suffix = "" if wish.surface is None else f".{wish.surface}"
    if suffix:
        inputs.check(*surface_files(found, beside, suffix=suffix).values())
    write_labelmap(found, output, source=session.volume)
    case = session.volume.name
    if found.provenance is not None:
        terminal.warn(found.provenance.warnings)
    if not found.labelmap.any():
        terminal.warn([f"{case}: nothing was outlined; the labelmap is empty."])
    document: dict[str, Any] = {"case": case, **found.to_json(), "output": str(output)}
    if wish.prompts:
        document["prompts"] = [prompt.to_json() for prompt in wish.prompts]
    if suffix:
        document["surfaces"] = [str(path) for path in write_surfaces(found, beside, suffix=suffix)]
    return document


def _table(segmentation: Segmentation, *, title: str | None = None) -> RenderableType:
    from rich.table import Table

    notice = segmentation.provenance.model.notice if segmentation.provenance else ""
    table = Table(title=title, caption=notice)
    table.add_column("label", justify="right")
    table.add_column("structure")
    table.add_column("volume (mL)", justify="right")
    volumes = segmentation.volume_ml_by_label()
    for item in segmentation.segments:
        table.add_row(str(item.label), item.name, f"{volumes[item.label]:.2f}")
    return table
