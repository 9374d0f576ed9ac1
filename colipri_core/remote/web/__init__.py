"""The browser view of `colipri serve --web`: one case in three slices, for those without napari or Slicer.

A light page of plain ES modules (`page/`, no build step) on NiiVue, a viewer library for NIfTI in WebGL2. Chosen after
trying: NiiVue reads NIfTI with its affine, draws linked slices with overlays and label colours, is one self-contained
module, and runs under the policy `default-src 'self'`; vtk.js would need these built from parts, and trame keeps a
process and a picture stream for each reader on the server. NiiVue is not part of this package: `library.py` fetches the
pinned tarball from npm's registry once, by its hash.

The page speaks the server's own protocol. What a browser cannot unpack (Blosc2) it gets from `routes.py` as gzipped
NIfTI, on a grid it can show without freezing (`display.py`). Nothing but this server is asked for anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI

from colipri_core.remote.web.cases import Cases
from colipri_core.remote.web.drawings import WebState
from colipri_core.remote.web.library import library_module
from colipri_core.remote.web.page_files import open_paths
from colipri_core.remote.web.page_files import page_files
from colipri_core.remote.web.page_files import page_router
from colipri_core.remote.web.routes import router


def add_web_view(
    app: FastAPI, *, cases: Sequence[Path], root: Path | None, uploads: Path, library: bytes | None = None
) -> frozenset[str]:
    """Add the page and its routes to the server's application.

    Args:
        app: The application; `app.state.service` is its service.
        cases: CTs that can be opened by name.
        root: The allowed folder, whose CTs can be chosen as well; None for none.
        uploads: Folder in which files that are sent lie while they are read.
        library: The viewer library; None fetches it, once.

    Returns:
        Paths that must answer without a token: those of the page itself.

    Raises:
        MissingDependencyError: If the viewer library is not here and cannot be fetched.
    """
    content = page_files(library_module() if library is None else library)
    app.state.web = WebState(Cases(cases, root), uploads)
    app.include_router(page_router(content))
    app.include_router(router)
    return open_paths(content)
