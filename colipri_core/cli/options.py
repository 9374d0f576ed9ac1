"""Options that every verb shares, spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CT = Annotated[
    Path,
    typer.Argument(metavar="CT", help="CT volume: NIfTI, NRRD, MHA, DICOM folder, file or zip.", show_default=False),
]
CTs = Annotated[
    list[Path],
    typer.Argument(metavar="CT...", help="CT volumes, DICOM folders, or folders of scans.", show_default=False),
]

Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Shipped model, bundle folder, hub id such as microsoft/colipri, or server's URL.",
    ),
]
LocalModel = Annotated[
    str,
    typer.Option("--model", metavar="MODEL", help="Shipped model, bundle folder, or hub id such as microsoft/colipri."),
]
ClicksModel = Annotated[
    str,
    typer.Option(
        "--clicks-model",
        metavar="MODEL",
        help="What answers prompts: clicks, a bundle folder, or nninteractive (weights not for commercial use).",
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.")]
Json = Annotated[bool, typer.Option("--json", help="Write the result as one JSON document on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar, no warnings on stderr.")]
Series = Annotated[
    str | None,
    typer.Option(
        "--series",
        metavar="UID",
        help="Series instance UID, for a DICOM folder that holds several.",
        show_default=False,
    ),
]

Suffix = Annotated[str, typer.Option("--suffix", metavar="SUFFIX", help="Format of the files in a folder.")]

Store = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="STORE",
        help="Case store: a folder, an object store, or a name at the server.",
        show_default=False,
    ),
]
Count = Annotated[int, typer.Option("-k", metavar="N", min=1, help="How many cases at most.")]
OnlyFinding = Annotated[
    str, typer.Option("--finding", metavar="NAME", help="Only cases known to have this finding.", show_default=False)
]
OnlyTag = Annotated[str, typer.Option("--tag", metavar="WORD", help="Only cases with this tag.", show_default=False)]
OnlySex = Annotated[str, typer.Option("--sex", metavar="F|M|O", help="Only cases of this sex.", show_default=False)]
OnlyAge = Annotated[
    str,
    typer.Option(
        "--age", metavar="LOW..HIGH", help="Only cases of this age in years; 40.. or ..70 too.", show_default=False
    ),
]
OnlyDate = Annotated[
    str,
    typer.Option(
        "--date",
        metavar="FIRST..LAST",
        help="Only cases of these days, such as 2024-01-01..2024-12-31.",
        show_default=False,
    ),
]

UnusedModel = Annotated[
    str, typer.Option("--model", metavar="MODEL", help="Accepted by every verb; this one runs no model.")
]
UnusedDevice = Annotated[
    str, typer.Option("--device", metavar="NAME", help="Accepted by every verb; this one runs no model.")
]

_Texts = list[str] | None
Points = Annotated[
    _Texts, typer.Option("--point", metavar="R,A,S[,+|-]", help="Point in RAS mm; repeat for more.", show_default=False)
]
Boxes = Annotated[
    _Texts, typer.Option("--box", metavar="R,A,S,R,A,S[,+|-]", help="Box, by two corners.", show_default=False)
]
Scribbles = Annotated[
    _Texts, typer.Option("--scribble", metavar="R,A,S,...[,+|-]", help="Stroke through positions.", show_default=False)
]
Lassos = Annotated[
    _Texts, typer.Option("--lasso", metavar="R,A,S,...[,+|-]", help="Closed curve in one plane.", show_default=False)
]
Phrases = Annotated[
    _Texts, typer.Option("--phrase", metavar="TEXT", help="Words for what is to be outlined.", show_default=False)
]
