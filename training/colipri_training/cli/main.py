"""The `colipri-train` command: data, stages of a run, evaluation. Exit codes are those of `colipri`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import typer
from rich.logging import RichHandler

from colipri_core.errors import ColipriError
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
    except (typer.Abort, KeyboardInterrupt):
        return _CANCELLED
    except ColipriError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except (ValueError, KeyError) as error:
        sys.stderr.write(f"error: {error}\n")
        return _USAGE
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's own usage errors, whose class moved between its versions
            raise
        sys.stderr.write(f"error: {error.format_message()} Try: colipri-train --help\n")
        return _USAGE
    return status if isinstance(status, int) else 0
