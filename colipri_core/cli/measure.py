"""What `colipri bench` times: each step of an analysis of one CT, in seconds of wall time.

An engine is opened with an empty cache of its own, so that a local model really encodes. A step that is quick is done
several times, each time with something new, and its median counts.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import TypeVar

from colipri_core.engine import Engine
from colipri_core.engine import open_engine
from colipri_core.errors import CapabilityError
from colipri_core.geometry import Points
from colipri_core.io import read_volume
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.prompts import Point
from colipri_core.session import Session
from colipri_core.volume import Volume

INCLUDES = {
    "read": "reading the CT's file or folder",
    "open": "loading the libraries, reading and checking the weights, warming up; with a URL, connecting",
    "encode": "the first answer: preprocessing and encoding the CT (with a URL, sending it) and its default findings",
    "next phrase": "the probability of a phrase not asked before, of the encoded CT",
    "evidence": "the heat map of a phrase not asked before, in the CT's own grid",
    "structures": "the outlines of all structures, in the CT's own grid, with loading what draws them",
    "first click": "the mask of an object from one point, in the CT's own grid, with loading what answers clicks",
    "next click": "the mask of another object from one point",
}
"""Step -> what its time includes."""

REPEATS = 5
"""How often the quick steps are done: our choice."""

_THINGS = ("a small calcified granuloma", "a cavity with thick walls")
_PLACES = ("left upper lobe", "right lower lobe", "middle lobe", "lingula", "left hilum")

_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What is timed.

    Args:
        model: Shipped name, folder, hub id or URL.
        device: Device name or "auto".
        cache: Empty folder for encoded features.
        series: Series instance UID, or None.
    """

    model: str
    device: str
    cache: Path
    series: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timings:
    """How long the steps took, and of what.

    Args:
        volume: The CT.
        model: The model's card as plain values, with its notice.
        device: Device the model ran on.
        versions: Package name -> version.
        seconds: Step -> seconds, in the order in which they were done.
        unsupported: Steps the model has no part for.
        encode_was_cached: Whether the encoded CT came from a cache, as a server's may; "encode" encoded nothing then.
    """

    volume: Volume
    model: dict[str, Any]
    device: str
    versions: dict[str, str]
    seconds: dict[str, float]
    unsupported: tuple[str, ...]
    encode_was_cached: bool


def measure(
    ct: Path, options: BenchOptions, *, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
) -> Timings:
    """Time every step on a CT.

    Args:
        ct: File, folder or zip.
        options: What is timed.
        progress: Receives (fraction, message).
        cancel: Cancels between and within steps.

    Raises:
        ColipriError: What reading the CT, opening the model or a step raises.
        Cancelled: If `cancel` was set.
    """
    report = Reporter(progress, cancel)
    report(0.0, "Reading")
    seconds: dict[str, float] = {}
    seconds["read"], volume = _timed(lambda: read_volume(ct, series=options.series))
    seconds["open"], engine = _timed(
        lambda: open_engine(
            options.model, device=options.device, cache_dir=options.cache, progress=report.part(0.1, 0.2), cancel=cancel
        )
    )
    with engine, engine.open(volume) as session:
        steps = _Steps(engine, session, cancel)
        for number, (name, step) in enumerate(steps.all()):
            report(0.2 + 0.1 * number, name.capitalize())
            try:
                seconds[name] = step()
            except CapabilityError:
                steps.unsupported.append(name)
        return Timings(
            volume=volume,
            model=engine.card.to_json(),
            device=engine.device,
            versions=engine.versions,
            seconds=seconds,
            unsupported=tuple(steps.unsupported),
            encode_was_cached=steps.encode_was_cached,
        )


def peak_memory_gb() -> float | None:
    """Largest resident memory of this process so far, in GB; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 2)


class _Steps:
    """The steps on an opened CT, each returning its seconds."""

    def __init__(self, engine: Engine, session: Session, cancel: CancelToken | None) -> None:
        self.unsupported: list[str] = []
        self.encode_was_cached = False
        self._engine = engine
        self._session = session
        self._cancel = cancel
        self._phrases = (f"{thing} in the {place}" for thing, place in itertools.product(_THINGS, _PLACES))
        self._labels = itertools.count(1)
        self._place: Points = session.volume.geometry.center

    def all(self) -> Iterator[tuple[str, Callable[[], float]]]:
        """Every step with its name, in order."""
        yield "encode", self._encode
        yield "next phrase", lambda: self._median(self._phrase)
        yield "evidence", lambda: self._median(self._evidence)
        yield "structures", self._structures
        yield "first click", self._click
        yield "next click", lambda: self._median(self._click)

    def _median(self, step: Callable[[], float]) -> float:
        return statistics.median(step() for _ in range(REPEATS))

    def _encode(self) -> float:
        if self._engine.capabilities.free_text:
            seconds, found = _timed(lambda: self._session.classify(cancel=self._cancel))
            timings = found.provenance.timings
        else:
            seconds, embedding = _timed(lambda: self._session.embedding(cancel=self._cancel))
            timings = embedding.provenance.timings
        self.encode_was_cached = "encode (cached)" in timings
        return seconds

    def _phrase(self) -> float:
        phrase = next(self._phrases)
        return _timed(lambda: self._session.classify([phrase], cancel=self._cancel))[0]

    def _evidence(self) -> float:
        phrase = next(self._phrases)
        seconds, found = _timed(lambda: self._session.evidence(phrase, cancel=self._cancel))
        self._place = found.peak_ras
        return seconds

    def _structures(self) -> float:
        return _timed(lambda: self._session.segment(cancel=self._cancel))[0]

    def _click(self) -> float:
        right, anterior, superior = (float(value) for value in self._place)
        point, label = Point(ras=(right, anterior, superior)), next(self._labels)
        return _timed(lambda: self._session.prompt(point, label=label, policy="replace", cancel=self._cancel))[0]


def _timed(work: Callable[[], _Result]) -> tuple[float, _Result]:
    """Wall time of a call, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result
