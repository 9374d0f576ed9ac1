"""A server without a model, as a program: the real routes and sessions over answers that follow from simple rules.

    python light_server.py STATE PORT

prints its URL once it is ready. It starts in a moment, so that tests can kill it often.
"""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS.parent), str(TESTS), str(TESTS / "napari"), str(TESTS / "core")]


def main(state: str, port: str) -> None:
    """Serve until killed."""
    from scripted_engine import ScriptedEngine

    from colipri_core.remote.server.run import Server
    from colipri_core.remote.server.run import reserved
    from colipri_core.remote.server.settings import ServerSettings

    def ready(url: str) -> None:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()

    settings = ServerSettings(state=Path(state), port=int(port))
    with reserved(settings) as listener:
        Server(ScriptedEngine(), settings, listener, ready).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
