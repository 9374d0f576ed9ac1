"""The application: what is shared by all requests, the routes, and the layers every request passes.

From the outside in: the account (log and metrics), the guard (protocol, token, host), the routes. Errors become JSON
in one place; see `errors`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version

from fastapi import FastAPI

from colipri_core.engine import Engine
from colipri_core.remote.server.account import Account
from colipri_core.remote.server.answers import answer_errors
from colipri_core.remote.server.guard import Guard
from colipri_core.remote.server.routes import edits
from colipri_core.remote.server.routes import health
from colipri_core.remote.server.routes import jobs
from colipri_core.remote.server.routes import model
from colipri_core.remote.server.routes import questions
from colipri_core.remote.server.routes import sessions
from colipri_core.remote.server.routes import stores
from colipri_core.remote.server.routes import volumes
from colipri_core.remote.server.schema import describe
from colipri_core.remote.server.service import Service
from colipri_core.remote.server.settings import ServerSettings

_ROUTES = (health, model, volumes, sessions, questions, edits, jobs, stores)


def create_app(engine: Engine, settings: ServerSettings) -> FastAPI:
    """Make the application of one engine; it does not close the engine.

    Args:
        engine: The model, loaded.
        settings: How it is served.
    """
    service = Service(engine, settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="COLIPRI server",
        version=version("napari-colipri"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    for routes in _ROUTES:
        app.include_router(routes.router)
    answer_errors(app)
    describe(app)
    app.add_middleware(Guard, settings=settings, open_paths=_web_view(app, settings))
    app.add_middleware(Account, metrics=service.metrics)  # added last, so outermost
    return app


def _web_view(app: FastAPI, settings: ServerSettings) -> frozenset[str]:
    """Add the browser view if it is wanted; returns the paths that answer without a token."""
    if not settings.web:
        return frozenset()
    from colipri_core.remote.web import add_web_view

    return add_web_view(app, cases=settings.cases, root=settings.root, uploads=settings.state / "uploads")
