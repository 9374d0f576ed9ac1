"""Preparing a data set: every volume of a manifest is read, resampled and stored once; resumable, in processes.

What goes wrong with one volume is noted and the run goes on: unreadable, not in HU, not there. What concerns all
stops it, with everything finished kept: a full disk, a worker that died. Running it again goes on: volumes whose source
and correction are unchanged are kept, refused ones are tried again.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import multiprocessing
import os
import threading
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED
from concurrent.futures import Future
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import blosc2

from colipri_core.io.atomic import atomic_file
from colipri_core.io.atomic import write_json
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.progress import ProgressCallback
from colipri_training.data.manifest import Entry
from colipri_training.data.manifest import Manifest
from colipri_training.data.prepare_entry import Outcome
from colipri_training.data.prepare_entry import PreparationStoppedError
from colipri_training.data.prepare_entry import Refusal
from colipri_training.data.prepare_entry import prepare_entry
from colipri_training.data.prepare_entry import stops_when_full
from colipri_training.data.prepared import FORMAT
from colipri_training.data.prepared import HU_RANGE
from colipri_training.data.prepared import INDEX
from colipri_training.data.prepared import SETTINGS
from colipri_training.data.prepared import VOLUMES
from colipri_training.data.prepared import PreparedDataError
from colipri_training.data.prepared import PreparedVolume
from colipri_training.data.prepared import Storage
from colipri_training.data.prepared import read_settings

REFUSED = "refused.csv"
REPORT = "report.json"

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """How a data set is prepared.

    Args:
        spec: Gives orientation and spacing; size and intensity window play no part yet.
        workers: Processes; 1 works in this one.
        resume: Go on in a folder that holds volumes already; else such a folder is refused.
        storage: Chunks and compression.
    """

    spec: PreprocessSpec
    workers: int = 1
    resume: bool = True
    storage: Storage = dataclasses.field(default_factory=Storage)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """What a preparation came to: how many volumes it made, found made already, and refused."""

    made: int
    kept: int
    refused: tuple[Refusal, ...]


def prepare(
    manifest: Manifest, folder: Path, options: PrepareOptions, progress: ProgressCallback | None = None
) -> Summary:
    """Prepare a data set.

    Args:
        manifest: Its volumes.
        folder: Where `prepared` puts them; made if missing.
        options: The grid, and how to work.
        progress: Told the finished share and the volume's id.

    Returns:
        How many were made, kept and refused; `refused.csv` names the refused ones, `report.json` all of this.

    Raises:
        PreparedDataError: If the folder holds another preparation, or is being filled by another process.
        PreparationStoppedError: If the disk is full, a worker died, or no volume at all could be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        with stops_when_full(folder):
            _begin(folder, options)
        volumes: list[PreparedVolume] = []
        refused: list[Refusal] = []
        made = 0
        for done, (result, is_new) in enumerate(_outcomes(manifest.entries, folder, options), start=1):
            if isinstance(result, Refusal):
                logger.warning("%s refused: %s", result.id, result.reason)
                refused.append(result)
            else:
                volumes.append(result)
                made += is_new
            if progress is not None:
                progress(done / len(manifest.entries), result.id)
        summary = Summary(made=made, kept=len(volumes) - made, refused=tuple(refused))
        with stops_when_full(folder):
            _finish(folder, manifest, volumes, summary)
    if not volumes:
        msg = f"None of {len(refused)} volumes could be used; the first: {refused[0].reason}"
        raise PreparationStoppedError(msg)
    return summary


def _begin(folder: Path, options: PrepareOptions) -> None:
    settings = {
        "format": FORMAT,
        "orientation": options.spec.orientation,
        "spacing_mm": list(options.spec.spacing_mm),
        "hu_range": list(HU_RANGE),
    }
    if not (folder / SETTINGS).is_file():
        write_json(folder / SETTINGS, settings)
    elif not options.resume:
        msg = f'"{folder.name}" holds prepared volumes already. Go on with --resume, or choose another folder.'
        raise PreparedDataError(msg)
    elif (found := read_settings(folder)) != settings:
        msg = f'"{folder.name}" was prepared with {found}, expected {settings}. Choose another folder.'
        raise PreparedDataError(msg)
    # An index of an earlier run could name files that this one replaces.
    (folder / INDEX).unlink(missing_ok=True)
    for leftover in (folder / VOLUMES).glob("*/.colipri-*"):
        leftover.unlink()


def _outcomes(entries: Sequence[Entry], folder: Path, options: PrepareOptions) -> Iterator[Outcome]:
    work = partial(prepare_entry, folder=folder, spec=options.spec, storage=options.storage)
    if options.workers <= 1:
        yield from map(work, entries)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(options.workers, mp_context=context, initializer=_start_worker)
    pending: set[Future[Outcome]] = set()
    try:
        for entry in entries:
            pending.add(pool.submit(work, entry))
            if len(pending) > 2 * options.workers:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        yield from (future.result() for future in pending)
    except BrokenProcessPool as error:
        msg = "A worker process died, most often for want of memory. Run it again with fewer workers; it goes on."
        raise PreparationStoppedError(msg) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Use one thread, and end with the process that started this one, even if that was killed."""
    blosc2.set_nthreads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None, "this runs in a worker"

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _finish(folder: Path, manifest: Manifest, volumes: Sequence[PreparedVolume], summary: Summary) -> None:
    order = {entry.id: place for place, entry in enumerate(manifest.entries)}
    with atomic_file(folder / INDEX, ".jsonl") as temporary, temporary.open("w", encoding="utf-8") as stream:
        for volume in sorted(volumes, key=lambda volume: order[volume.id]):
            stream.write(json.dumps(dataclasses.asdict(volume)) + "\n")
    refused = sorted(summary.refused, key=lambda refusal: order[refusal.id])
    with (
        atomic_file(folder / REFUSED, ".csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(stream, ["id", "code", "reason"])
        writer.writeheader()
        writer.writerows(dataclasses.asdict(refusal) for refusal in refused)
    counts = {"made": summary.made, "kept": summary.kept, "refused": len(refused)}
    write_json(folder / REPORT, counts | {"notes": list(manifest.notes)})


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second preparation out of the folder; the lock dies with its process, however that ends."""
    try:
        import fcntl
    except ModuleNotFoundError:
        yield  # Windows: two at once do the same work twice, but every file still takes its place by one rename
        return
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f'Another process is preparing volumes in "{folder.name}". Wait for it to end.'
            raise PreparedDataError(msg) from error
        yield
