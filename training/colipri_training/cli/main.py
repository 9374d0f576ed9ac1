"""The `colipri-train` command: data, stages of a run, evaluation. Exit codes are those of `colipri`."""

from __future__ import annotations

import logging
import sys

import typer
from rich.logging import RichHandler

from colipri_core.errors import ColipriError
from colipri_training.cli.data import manifest
from colipri_training.cli.data import prepare
from colipri_training.cli.evaluate import evaluate
from colipri_training.cli.phantoms import phantoms
from colipri_training.cli.report import report
from colipri_training.cli.stages import export
from colipri_training.cli.stages import pretrain
from colipri_training.cli.stages import structures

_USAGE = 2

app = typer.Typer(name="colipri-train", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for verb in (phantoms, manifest, prepare, pretrain, structures, export, evaluate, report):
    app.command()(verb)


@app.callback()
def _training() -> None:
    """Train, measure and export models for the viewers. Results on stdout, logs on stderr."""
    from rich.console import Console

    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=Console(stderr=True))])


def run() -> int:
    """Run the command line of this process; the entry point of the `colipri-train` script."""
    try:
        app(standalone_mode=False)
    except typer.Abort:
        return 130
    except ColipriError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except (ValueError, KeyError) as error:
        sys.stderr.write(f"{error}\n")
        return _USAGE
    return 0
