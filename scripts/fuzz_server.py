"""Ask a real server all that is wrong, at length: by its schema, odd prompts, and damaged binary bodies.

    python scripts/fuzz_server.py [--bodies 100000] [--prompts 10000] [--examples 100] [--output fuzz.json]

Nothing may be answered with a fault of the server or hang; a session beside must stay as it was; nothing may appear
outside the state folder. The same in short is tests/core/test_server_fuzz.py. Exit status 1 if something was found.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "core")]

from random_bundles import save_random_bundle  # noqa: E402
from support.fuzzing import ask_by_schema  # noqa: E402
from support.fuzzing import fill_store  # noqa: E402
from support.fuzzing import prompt_oddly  # noqa: E402
from support.fuzzing import send_damaged  # noqa: E402
from support.fuzzing import watched  # noqa: E402
from support.serving import serving  # noqa: E402

from colipri_core.engine import open_engine  # noqa: E402
from colipri_core.remote.server.settings import Limits  # noqa: E402


def main() -> int:
    """Run, print and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bodies", type=int, default=100_000)
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "fuzz.json")
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = save_random_bundle(folder / "bundle")
        limits = Limits(sessions=1000)
        (folder / "root").mkdir()
        with open_engine(bundle, device="cpu", cache_dir=folder / "cache") as engine:
            stores = {"lab": fill_store(engine, folder / "lab")}
            with (
                serving(engine, state=folder / "state", root=folder / "root", stores=stores, limits=limits) as url,
                watched(url, folder) as watch,
            ):
                by_schema = ask_by_schema(url, examples=options.examples)
                by_prompt = prompt_oddly(url, watch, count=options.prompts)
                by_body = send_damaged(url, watch, count=options.bodies)
        document = {
            "command": " ".join(["python scripts/fuzz_server.py", *sys.argv[1:]]),
            "counts": {
                "requests_by_schema": by_schema.total(),
                "odd_prompts": by_prompt.total(),
                "damaged_bodies": by_body.total(),
            },
            "requests_by_schema": dict(sorted(by_schema.items())),
            "odd_prompts": dict(sorted(by_prompt.items())),
            "damaged_bodies": dict(sorted(by_body.items())),
            "changed_beside": watch.changed,
            "seconds": round(time.monotonic() - start, 1),
        }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    statuses = itertools.chain(by_schema, by_prompt, by_body)
    return int(bool(watch.changed) or any(status.startswith(("500", "fault", "hang")) for status in statuses))


if __name__ == "__main__":
    sys.exit(main())
