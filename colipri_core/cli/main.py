"""The `colipri` command: verbs, exit codes and error messages.

Exit status: 0 done, 2 wrong usage, 3 unreadable or unfit input, or an output that cannot be written, 4 model
unavailable, 130 cancelled, 1 anything else.
An error says on stderr what was expected, what was found and what to do; with `--json` it is also the one document on
stdout, `{"error": {"code", "message"}}` (and "series" where a DICOM folder holds several). The verbs import what they
need when they run, so that `colipri --help` is quick.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated
from typing import Any

import typer

from colipri_core.cli.bench import bench
from colipri_core.cli.classify import classify
from colipri_core.cli.convert import convert
from colipri_core.cli.demo import demo
from colipri_core.cli.doctor import doctor
from colipri_core.cli.evidence import evidence
from colipri_core.cli.index import index
from colipri_core.cli.info import info
from colipri_core.cli.project import project
from colipri_core.cli.report import report
from colipri_core.cli.search import search
from colipri_core.cli.segment import segment
from colipri_core.cli.serve import serve
from colipri_core.cli.similar import similar
from colipri_core.errors import ColipriError
from colipri_core.errors import OutputError
from colipri_core.errors import SeveralSeriesError

logger = logging.getLogger(__name__)

USAGE = 2
CANCELLED = 130
FAILED = 1
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

app = typer.Typer(
    name="colipri",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing rich for it would cost a third of the start
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (demo, classify, evidence, segment, report, similar, search, serve, project, convert, info, doctor, bench):
    app.command()(verb)
app.add_typer(index, name="index")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"colipri {version('napari-colipri')}\n")
        raise typer.Exit


@app.callback()
def colipri(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Findings, evidence maps and structures from 3D chest CT. Research use only, not for diagnosis."""


def run() -> int:
    """Run the command line of this process; the entry point of the `colipri` script."""
    return main(sys.argv[1:])


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: What follows `colipri` on the command line.
    """
    try:
        status = typer.main.get_command(app).main(
            args=list(arguments), prog_name="colipri", standalone_mode=False, windows_expand_args=False
        )
    except (Exception, KeyboardInterrupt) as error:  # the outermost boundary: nothing above can handle it
        failure, document = _explain(error)
        sys.stderr.write(f"error: {document['message']}\n")
        if os.environ.get("COLIPRI_DEBUG"):
            logger.error("Where it happened:", exc_info=error)
        if "--json" in arguments:
            sys.stdout.write(json.dumps({"error": document}) + "\n")
        return failure
    return status if isinstance(status, int) else 0


def _explain(error: BaseException) -> tuple[int, dict[str, Any]]:
    """Exit status and JSON document of an error."""
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return CANCELLED, {"code": "cancelled", "message": "The work was cancelled. Nothing was changed."}
    if isinstance(error, ColipriError):
        series = {"series": error.series} if isinstance(error, SeveralSeriesError) else {}
        return error.exit_code, {"code": error.code, "message": str(error), **series}
    if hasattr(error, "format_message"):  # typer's own usage errors, whose class moved between its versions
        return USAGE, {"code": "usage", "message": f"{error.format_message()} Try: colipri --help"}
    if isinstance(error, (ValueError, TypeError)):
        return USAGE, {"code": "usage", "message": str(error)}
    if isinstance(error, OSError):
        message = f"{error}. Check the path, the permissions and the free space."
        status = OutputError.exit_code if error.errno in _NO_ROOM else FAILED
        return status, {"code": "input-output", "message": message}
    message = f"{type(error).__name__}: {error}. Set COLIPRI_DEBUG=1 to see where it happened."
    return FAILED, {"code": "internal", "message": message}
