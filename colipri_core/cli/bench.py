"""`colipri bench`: how long the steps of an analysis take on this machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer

from colipri_core.cli import options

if TYPE_CHECKING:
    from rich.console import RenderableType

_SAMPLE = ("napari_colipri", "samples", "phantom_chest.nii.gz")
"""The generated CT that ships: package, folder and file."""


def bench(
    ct: Annotated[
        Path | None,
        typer.Argument(metavar="CT", help="CT volume; the generated one that ships if none.", show_default=False),
    ] = None,
    *,
    series: options.Series = None,
    model: options.Model = "tiny",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Time the steps of an analysis: open, encode, next phrase, evidence, structures and a click.

    Seconds are wall time, with an empty cache of encoded volumes; what each includes stands beside it. A server keeps
    its own cache, and with one they include the network. Quick steps are done 5 times, and their median counts.
    """
    import platform
    import tempfile

    from colipri_core.cli.measure import INCLUDES
    from colipri_core.cli.measure import REPEATS
    from colipri_core.cli.measure import BenchOptions
    from colipri_core.cli.measure import measure
    from colipri_core.cli.measure import peak_memory_gb
    from colipri_core.cli.terminal import Terminal
    from colipri_core.cli.work import controlled

    terminal = Terminal(json=json, quiet=quiet)
    with controlled(terminal) as control, tempfile.TemporaryDirectory() as cache:
        wanted = BenchOptions(model=model, device=device, cache=Path(cache), series=series)
        found = measure(ct or _sample(), wanted, progress=control.progress, cancel=control.cancel)
    if found.encode_was_cached:
        terminal.warn(['The encoded CT came from a cache of the server: "encode" encoded nothing.'])
    document = {
        "case": found.volume.name,
        "shape": list(found.volume.shape),
        "model": found.model,
        "device": found.device,
        "versions": {"python": platform.python_version(), **found.versions},
        "machine": platform.platform(),
        "seconds": {step: round(value, 4) for step, value in found.seconds.items()},
        "includes": {step: INCLUDES[step] for step in found.seconds},
        "repeats": REPEATS,
        "unsupported": list(found.unsupported),
        "encode_was_cached": found.encode_was_cached,
        "peak_memory_gb": peak_memory_gb(),
    }
    terminal.result(document, lambda: _table(document))
    return 0


def _sample() -> Path:
    """The generated CT that ships, found by name, because the core knows no viewer."""
    from colipri_core.errors import MissingDependencyError

    package, *parts = _SAMPLE
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    path = Path(folders[0], *parts) if folders else None
    if path is None or not path.is_file():
        msg = "The generated CT comes with the package napari_colipri, which is not installed. Name a CT instead."
        raise MissingDependencyError(msg)
    return path


def _table(document: dict[str, Any]) -> RenderableType:
    from rich.table import Table

    size = " x ".join(str(value) for value in document["shape"])
    table = Table(title=f"{document['case']}, {size} voxels, {document['device']}", caption=document["model"]["notice"])
    table.add_column("step")
    table.add_column("seconds", justify="right")
    table.add_column("includes")
    for step, seconds in document["seconds"].items():
        table.add_row(step, f"{seconds:.3f}", document["includes"][step])
    for step in document["unsupported"]:
        table.add_row(step, "-", "nothing: the model has no part for it")
    if document["peak_memory_gb"] is not None:
        table.add_row("peak memory", f"{document['peak_memory_gb']} GB", "this process, from its start")
    return table
