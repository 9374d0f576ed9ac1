"""The `colipri-train` command: data, stages of a run, evaluation. Exit codes are those of `colipri`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import typer
from rich.logging import RichHandler

from colipri_core.errors import ColipriError
from colipri_core.errors import OutputError
from colipri_training.cli.ablation import compare
from colipri_training.cli.ablation import cost
from colipri_training.cli.clicks import clicks
from colipri_training.cli.data import manifest
from colipri_training.cli.data import prepare
from colipri_training.cli.evaluate import evaluate
from colipri_training.cli.phantoms import phantoms
from colipri_training.cli.phrases import phrases
from colipri_training.cli.probe import probe
from colipri_training.cli.report import report
from colipri_training.cli.reports import sort_reports
from colipri_training.cli.stages import export
from colipri_training.cli.stages import pretrain
from colipri_training.cli.stages import stem
from colipri_training.cli.structures import structures
from colipri_training.cli.transfer import app as transfer
from colipri_training.cli.writer import writer

logger = logging.getLogger(__name__)

_SHOW = "Set COLIPRI_DEBUG=1 to see where it happened."
_FAILED = 1
_USAGE = 2
_CANCELLED = 130

app = typer.Typer(name="colipri-train", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
_DATA = (phantoms, manifest, sort_reports, prepare)
_TRAINING = (stem, pretrain, structures, writer, phrases, clicks, probe, report, export)
_MEASURING = (evaluate, compare, cost)
for verb in (*_DATA, *_TRAINING, *_MEASURING):
    app.command()(verb)
app.add_typer(transfer)


@app.callback()
def _training() -> None:
    """Train, measure and export models for the viewers. Results on stdout, logs on stderr."""
    from rich.console import Console

    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=Console(stderr=True))])


def run() -> int:
    """Run the command line of this process; the entry point of the `colipri-train` script."""
    return main(sys.argv[1:])


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: What follows `colipri-train` on the command line.
    """
    try:
        status = typer.main.get_command(app).main(
            args=list(arguments), prog_name="colipri-train", standalone_mode=False, windows_expand_args=False
        )
    except (Exception, KeyboardInterrupt) as error:  # the outermost boundary: nothing above can handle it
        failure, message = _explain(error)
        sys.stderr.write(f"error: {message}\n")
        if os.environ.get("COLIPRI_DEBUG"):
            logger.error("Where it happened:", exc_info=error)
        return failure
    return status if isinstance(status, int) else 0


def _explain(error: BaseException) -> tuple[int, str]:
    """Exit status of an error, and what to say."""
    if isinstance(error, (typer.Abort, KeyboardInterrupt)):
        return _CANCELLED, "The work was cancelled. What was saved before is kept."
    if isinstance(error, ColipriError):
        return error.exit_code, str(error)
    if hasattr(error, "format_message"):  # typer's own usage errors, whose class moved between its versions
        return _USAGE, f"{error.format_message()} Try: colipri-train --help"
    if isinstance(error, (ValueError, KeyError)):
        return _USAGE, str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    if isinstance(error, OSError):
        return OutputError.exit_code, f"{error}. Check the path, the permissions and the free space."
    diverged = isinstance(error, FloatingPointError)
    told = f"{error} Set a lower learning rate." if diverged else f"{type(error).__name__}: {error}. {_SHOW}"
    return _FAILED, told
