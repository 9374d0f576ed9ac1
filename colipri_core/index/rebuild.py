"""Encoding every case of a store again, with its own model or another one.

The new vectors go to new tables; the store changes to them in one commit when all are there. Until then, and if it is
killed, it stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from colipri_core.cases import CaseRecord
from colipri_core.cases import StoredCase
from colipri_core.engine import Engine
from colipri_core.errors import StoreError
from colipri_core.index.add import BATCH
from colipri_core.index.add import encode_case
from colipri_core.index.store import CaseStore
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter


def rebuild_store(
    store: CaseStore,
    engine: Engine,
    *,
    drop_missing: bool = False,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> tuple[str, ...]:
    """Encode every case again, and let the store be of this model.

    Args:
        store: Opened for writing; nobody should add to it meanwhile.
        engine: The model.
        drop_missing: Leave out cases whose scan is no longer where it was, instead of stopping.
        progress: Receives (fraction, message).
        cancel: Cancels the call; the store stays as it was.

    Returns:
        Names of the cases that were left out.

    Raises:
        StoreError: If a scan is no longer where it was; the message lists them, and nothing is changed.
        InputError: If a scan can no longer be read; nothing is changed.
        Cancelled: If `cancel` was set.
    """
    cases = sorted(store.cases(), key=lambda case: case.case)
    missing = [case for case in cases if not Path(case.path).exists()]
    if missing and not drop_missing:
        msg = (
            f"{len(missing)} of {len(cases)} scans are no longer where they were, such as "
            f'"{missing[0].case}" at "{missing[0].path}". Bring them back, or leave them out with --drop-missing. '
            "Nothing was changed."
        )
        raise StoreError(msg)
    gone = {case.case for case in missing}
    report = Reporter(progress, cancel)
    left = [case for case in cases if case.case not in gone]
    generation = None
    for batch in _batches(left, engine, report, cancel):
        if generation is None:
            generation = store.next_generation(engine.card, len(batch[0].embedding.vector))
        generation.write(batch)
    if generation is not None:
        generation.use()
    elif gone:
        store.remove(gone)
    store.tidy()
    report(1.0, "Done")
    return tuple(sorted(gone))


def _batches(
    cases: list[StoredCase], engine: Engine, report: Reporter, cancel: CancelToken | None
) -> Iterator[list[CaseRecord]]:
    batch = []
    for number, case in enumerate(cases):
        part = report.part(number / len(cases), (number + 1) / len(cases))
        part(0.0, f"Encoding {case.case} ({number + 1} of {len(cases)})")
        batch.append(encode_case(engine, case.source, progress=part, cancel=cancel))
        if len(batch) == BATCH or number + 1 == len(cases):
            yield batch
            batch = []
