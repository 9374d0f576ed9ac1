"""Write docs/reference/openapi.json, the schema of the server's protocol: python scripts/openapi.py [--check]."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "reference" / "openapi.json"
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "napari")]


def schema() -> str:
    """Return the schema as the file has it."""
    from scripted_engine import ScriptedEngine

    from colipri_core.remote.server import ServerSettings
    from colipri_core.remote.server import create_app

    with tempfile.TemporaryDirectory() as folder:
        app = create_app(ScriptedEngine(), ServerSettings(state=Path(folder)))
        return json.dumps(app.openapi(), indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Write the schema, or say whether the file still has it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="Write nothing; exit with 1 if the file is out of date.")
    if parser.parse_args().check:
        return int(TARGET.read_text(encoding="utf-8") != schema())
    TARGET.write_text(schema(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
