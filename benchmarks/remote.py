"""What a server costs beside a model in the same process: clicks, bytes on the wire, an upload, the install.

    OMP_NUM_THREADS=1 python benchmarks/remote.py                                              # minutes
    python benchmarks/remote.py --shape 64 64 48 --clicks 3 --no-install --output /tmp/r.json  # smoke test

A generated chest of real size, with the noise of a real scan, is opened twice: in an engine of this process, and at a
`colipri serve` in another process on loopback. The same clicks are made in both, in turns, and the difference of each
pair is taken; strokes of the brush likewise, which no model answers. Both save their edits, as front ends do. Bytes are
counted by a relay between client and server, on a session of its own. The upload is that of a volume the server does
not hold, hashing at both ends included. The install is `pip install` of the package without extras into a fresh
environment, downloads from pip's cache allowed, with its modules compiled and without.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.serving import served_process  # noqa: E402

from colipri_core.editing.edits import Paint  # noqa: E402
from colipri_core.engine import open_engine  # noqa: E402
from colipri_core.progress import Reporter  # noqa: E402
from colipri_core.prompts import Crop  # noqa: E402
from colipri_core.prompts import Point  # noqa: E402
from colipri_core.remote.client import RemoteEngine  # noqa: E402
from colipri_core.remote.client.timeouts import Timeouts  # noqa: E402
from colipri_core.remote.client.transport import Transport  # noqa: E402
from colipri_core.remote.client.upload import send_volume  # noqa: E402
from colipri_core.session import Session  # noqa: E402
from colipri_core.volume import Volume  # noqa: E402

_SPACING_MM = (0.7, 0.7, 1.0)
_NOISE_HU = 20.0
_PIECE_BYTES = 1 << 16


class Relay:
    """Passes bytes on between client and server, and counts them.

    Args:
        port: The server's port on loopback.
    """

    def __init__(self, port: int) -> None:
        self.sent = self.received = 0
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(("127.0.0.1", self._port))
            threading.Thread(target=self._pump, args=(client, server, "sent"), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, "received"), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, counter: str) -> None:
        try:
            while piece := source.recv(_PIECE_BYTES):
                setattr(self, counter, getattr(self, counter) + len(piece))
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()


def chest(shape: tuple[int, int, int], *, seed: int) -> Volume:
    """A body with two lungs and round nodules in them, int16 HU with noise, laid out in memory as NIfTI is.

    Args:
        shape: Voxels along i, j, k.
        seed: Of the noise; another one makes another volume.
    """
    i, j, k = np.meshgrid(*(np.linspace(-1, 1, size, dtype=np.float32) for size in shape), indexing="ij", sparse=True)
    voxels = np.where(i**2 + (j / 0.75) ** 2 < 0.8, 40.0, -1000.0) + 0 * k
    for side in (-0.4, 0.4):
        voxels = np.where(((i - side) / 0.3) ** 2 + (j / 0.5) ** 2 + (k / 0.9) ** 2 < 1, -850.0, voxels)
    for r, a, s in nodules():
        voxels = np.where((i - r) ** 2 + (j - a) ** 2 + (k - s) ** 2 < 0.03**2, 30.0, voxels)
    voxels += np.random.default_rng(seed).normal(0, _NOISE_HU, shape).astype(np.float32)
    affine = np.diag([*_SPACING_MM, 1.0])
    return Volume(voxels=np.asfortranarray(voxels.astype(np.int16)), affine=affine, name="generated chest")


def nodules() -> list[tuple[float, float, float]]:
    """Centres of the nodules, in the unit cube around the middle."""
    return [(side * 0.4, a, s) for side in (-1, 1) for a in (-0.25, 0.0, 0.25) for s in (-0.5, -0.25, 0.0, 0.25, 0.5)]


def clicks(volume: Volume, count: int) -> list[Point]:
    """Clicks on the nodules, in turn."""
    half = (np.asarray(volume.shape) - 1) / 2
    places = [volume.geometry.index_to_world(half * (1 + np.asarray(center))) for center in nodules()]
    return [Point(ras=tuple(places[number % len(places)])) for number in range(count)]


def seconds(call: Callable[[], Any]) -> float:
    """Time a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(local: Session, remote: Session, count: int) -> dict[str, Any]:
    """Make the same clicks and strokes here and there, in turns; return medians in ms, and whether the labels agree."""
    ms: dict[str, list[float]] = {name: [] for name in ("local", "remote", "local stroke", "remote stroke")}
    points = clicks(local.volume, count + 1)
    stroke = Paint(voxels=Crop(lower=(5, 5, 5), mask=np.ones((12, 12, 3), dtype=bool)), label=1000)
    for session in (local, remote):
        session.prompt(points[0])  # loads the model
    for number, point in enumerate(points[1:], start=2):
        for name, session in (("local", local), ("remote", remote)):
            ms[name].append(1000 * seconds(lambda s=session, p=point, n=number: s.prompt(p, label=n)))
            shifted = dataclasses.replace(stroke, label=1000 + number)
            ms[f"{name} stroke"].append(1000 * seconds(lambda s=session, e=shifted: s.edit(e)))
    extra = [there - here for here, there in zip(ms["local"], ms["remote"], strict=True)]
    return {
        **{f"{name.replace(' ', '_')}_ms": round(statistics.median(values), 2) for name, values in ms.items()},
        "extra_ms": round(statistics.median(extra), 2),
        "extra_ms_worst": round(max(extra), 2),
        "labels_agree": bool(np.array_equal(local.segmentation.labelmap, remote.segmentation.labelmap)),
    }


def wire_bytes(url: str, volume: Volume, count: int) -> dict[str, Any]:
    """Count the bytes of clicks, HTTP included."""
    relay = Relay(urlsplit(url).port or 0)
    with RemoteEngine(relay.url) as engine, engine.open(volume) as session:
        points = clicks(volume, count + 1)
        session.prompt(points[0])
        sent, received = [], []
        for number, point in enumerate(points[1:], start=2):
            before = relay.sent, relay.received
            change = session.prompt(point, label=number)
            assert change.voxels_changed
            sent.append(relay.sent - before[0])
            received.append(relay.received - before[1])
    return {
        "sent": int(statistics.median(sent)),
        "received": int(statistics.median(received)),
        "received_most": max(received),
    }


def upload(url: str, volume: Volume) -> dict[str, Any]:
    """Time the upload of a volume the server does not hold."""
    transport = Transport(url, timeouts=Timeouts())
    taken = seconds(lambda: send_volume(transport, volume, Reporter()))
    transport.close()
    return {"seconds": round(taken, 2), "mib": round(volume.voxels.nbytes / 2**20, 1)}


def install(folder: Path) -> dict[str, Any]:
    """Time `pip install` of the package without extras into fresh environments; then import the client there.

    With `--no-compile` Python compiles a module when it is first imported; the Slicer module installs the client so.
    """
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(wheel, check=True)
    (built,) = folder.glob("*.whl")
    found = {}
    for name, options in (("seconds", []), ("no_compile_seconds", ["--no-compile"])):
        venv.create(folder / name, with_pip=True)
        python = str(folder / name / ("Scripts" if os.name == "nt" else "bin") / "python")
        command = [python, "-m", "pip", "install", "--quiet", *options, str(built)]
        found[name] = round(seconds(functools.partial(subprocess.run, command, check=True)), 1)
        check = "import colipri_core.remote.client, sys; assert 'torch' not in sys.modules"
        subprocess.run([python, "-c", check], check=True, cwd=folder)
    return found


def measure(shape: tuple[int, int, int], count: int) -> dict[str, Any]:
    """Run all comparisons on one volume."""
    volume = chest(shape, seed=0)
    with tempfile.TemporaryDirectory() as folder, served_process("tiny", state=Path(folder)) as server:
        uploaded = upload(server.url, chest(shape, seed=1))
        with (
            open_engine("tiny", device="cpu") as here,
            RemoteEngine(server.url) as there,
            here.open(volume, autosave=Path(folder) / "here") as local,
            there.open(volume, autosave=Path(folder) / "there") as remote,
        ):
            compared = compare(local, remote, count)
        counted = wire_bytes(server.url, volume, min(count, 10))
    return {"clicks": compared, "bytes_per_click": counted, "upload": uploaded}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300))
    parser.add_argument("--clicks", type=int, default=30)
    parser.add_argument("--no-install", action="store_true")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "remote.json")
    options = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    result = {"shape": list(options.shape), "number_of_clicks": options.clicks}
    result |= measure(tuple(options.shape), options.clicks)
    if not options.no_install:
        with tempfile.TemporaryDirectory() as folder:
            result["install"] = install(Path(folder))
    result["machine"] = {"cores": os.cpu_count(), "load_at_start": load, "python": platform.python_version()}
    for name, values in result.items():
        print(f"{name:18} {values}")
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
