"""Encoding scans into a store: batch by batch, again from where it stopped, and shared by several processes."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import logging
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from colipri_core.cases import CaseRecord
from colipri_core.cases import CaseSource
from colipri_core.engine import Engine
from colipri_core.errors import InputError
from colipri_core.errors import StoreError
from colipri_core.index.filters import known_name
from colipri_core.index.shard import Shard
from colipri_core.index.store import CaseStore
from colipri_core.index.thumbnails import thumbnails
from colipri_core.io import read_volume
from colipri_core.language.labeller import label_report
from colipri_core.language.sentences import split_report
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.volume import Volume

logger = logging.getLogger(__name__)

BATCH = 16
"""Cases a commit (our choice): what a crash can cost, against the cost of a commit."""

TIDY_EVERY = 4096
"""Cases after which a store is compacted while it grows (our choice)."""

MAX_SENTENCES = 512
"""Sentences of a report that are kept for search (our choice: no real report comes near); its text is kept whole."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddOptions:
    """How scans are added.

    Args:
        shard: Which of them belong to this process.
        batch_size: Cases a commit.
        update: Encode cases again that are already stored, instead of passing over them.
    """

    shard: Shard = dataclasses.field(default_factory=Shard)
    batch_size: int = BATCH
    update: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddReport:
    """What became of the scans.

    Args:
        added: Cases that are new in the store, or updated.
        present: Cases that were in the store already.
        failed: Case -> why its scan could not be used.
        exit_code: Of the last failure, for the command line; 0 without one.
    """

    added: tuple[str, ...]
    present: tuple[str, ...]
    failed: Mapping[str, str]
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        failed = [{"case": case, "message": message} for case, message in self.failed.items()]
        return {"added": list(self.added), "present": list(self.present), "failed": failed}


def add_cases(
    store: CaseStore,
    engine: Engine,
    sources: Sequence[CaseSource],
    *,
    options: AddOptions | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> AddReport:
    """Encode scans and add them to a store; cases it has already are passed over, so it can be called again.

    A scan that cannot be used is reported and the others are done all the same. Cancelling keeps finished batches.

    Args:
        store: Opened for writing.
        engine: The model.
        sources: The scans; names must be unique.
        options: Share of this process, size of a batch, whether to update.
        progress: Receives (fraction, message).
        cancel: Cancels the call.

    Raises:
        StoreModelError: If the store was made with other weights; nothing is encoded then.
        StoreError: If two scans have one name, or the store cannot be written.
        Cancelled: If `cancel` was set.
    """
    options = options or AddOptions()
    check_model(store, engine)
    _check_names(sources)
    paths = {} if options.update else store.paths()
    mine = options.shard.of(sources)
    wanted = [source for source in mine if source.case not in paths]
    failed = _other_scans(mine, paths)
    report = Reporter(progress, cancel)
    added: list[str] = []
    exit_code = StoreError.exit_code if failed else 0
    encoded = _encoded(engine, wanted, report, cancel)
    since_tidy = 0
    for batch in _batched(encoded, options.batch_size):
        records = [item for item in batch if isinstance(item, CaseRecord)]
        for source, error in (item for item in batch if not isinstance(item, CaseRecord)):
            failed[source.case] = str(error)
            exit_code = error.exit_code
        (store.update if options.update else store.add)(records)
        added += [record.source.case for record in records]
        since_tidy += len(records)
        if since_tidy >= TIDY_EVERY:
            store.tidy()
            since_tidy = 0
    if added:
        store.tidy()
    report(1.0, "Done")
    present = tuple(source.case for source in mine if source.case in paths and source.case not in failed)
    return AddReport(added=tuple(added), present=present, failed=failed, exit_code=exit_code)


def encode_case(
    engine: Engine,
    source: CaseSource,
    *,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> CaseRecord:
    """Read a scan and return all a store keeps of it; see `encode_volume`.

    Args:
        engine: The model.
        source: The scan.
        progress: Receives (fraction, message).
        cancel: Cancels the call.

    Raises:
        InputError: If the scan cannot be read or used.
        Cancelled: If `cancel` was set.
    """
    return encode_volume(engine, source, read_volume(source.path), progress=progress, cancel=cancel)


def encode_volume(
    engine: Engine,
    source: CaseSource,
    volume: Volume,
    *,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> CaseRecord:
    """Return all a store keeps of a scan that is read already.

    Where no findings are given they are read from the report by rules.

    Args:
        engine: The model.
        source: What is known of the scan.
        volume: The scan.
        progress: Receives (fraction, message).
        cancel: Cancels the call.

    Raises:
        InputError: If the scan cannot be used.
        Cancelled: If `cancel` was set.
    """
    with engine.open(volume) as session:
        embedding = session.embedding(progress=progress, cancel=cancel)
        regions = session.regions(cancel=cancel)
    texts = list(dict.fromkeys(sentence.text for sentence in split_report(source.report)))[:MAX_SENTENCES]
    vectors = engine.embed_texts(texts, cancel=cancel)
    return CaseRecord(
        source=dataclasses.replace(source, findings=_findings(source)),
        embedding=embedding,
        regions=regions,
        sentences={text: found.vector for text, found in zip(texts, vectors, strict=True)},
        thumbnails=thumbnails(volume),
        volume_sha256=volume.sha256,
    )


def check_model(store: CaseStore, engine: Engine) -> None:
    """Refuse a store of other weights before anything is encoded.

    Raises:
        StoreModelError: If the weights differ.
    """
    store.about.check_model(engine.card, store.address)


def _findings(source: CaseSource) -> tuple[str, ...]:
    if source.findings is None:
        return label_report(source.report).positive if source.report else ()
    return tuple(dict.fromkeys(known_name(finding) for finding in source.findings))


def _encoded(
    engine: Engine, sources: Sequence[CaseSource], report: Reporter, cancel: CancelToken | None
) -> Iterator[CaseRecord | tuple[CaseSource, InputError]]:
    for number, source in enumerate(sources):
        part = report.part(number / len(sources), (number + 1) / len(sources))
        part(0.0, f"Encoding {source.case} ({number + 1} of {len(sources)})")
        try:
            yield encode_case(engine, source, progress=part, cancel=cancel)
        except InputError as error:
            logger.warning("%s: %s", source.case, error)
            yield source, error


def _batched(
    items: Iterable[CaseRecord | tuple[CaseSource, InputError]], size: int
) -> Iterator[tuple[CaseRecord | tuple[CaseSource, InputError], ...]]:
    iterator = iter(items)
    while batch := tuple(itertools.islice(iterator, size)):
        yield batch


def _other_scans(sources: Iterable[CaseSource], paths: Mapping[str, str]) -> dict[str, str]:
    """Names that the store has for scans at another place."""
    return {
        source.case: (
            f'The store has a case "{source.case}" from "{paths[source.case]}", and this scan is "{source.path}". '
            "Name it otherwise in the reports table, or update the case."
        )
        for source in sources
        if paths.get(source.case, source.path) != source.path
    }


def _check_names(sources: Sequence[CaseSource]) -> None:
    counts = collections.Counter(source.case for source in sources)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        msg = (
            f"Expected a name of its own for each scan, found {len(twice)} used more than once, such as "
            f'"{twice[0]}". Give their common parent folder instead, which makes names of paths below it.'
        )
        raise StoreError(msg)
