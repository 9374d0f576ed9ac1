"""CaseStore: prepared phantoms on the model grid as compressed arrays, one folder a case, written atomically."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import blosc2
import numpy as np
import numpy.typing as npt

_ARRAYS = ("hu", "labels", "lesions")
_CODEC = {"codec": blosc2.Codec.ZSTD, "clevel": 3, "filters": [blosc2.Filter.BITSHUFFLE]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredSentence:
    """A report sentence: the finding it speaks of (None: plain anatomy) and whether it affirms it."""

    text: str
    finding: int | None
    positive: bool


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StoredCase:
    """One phantom on the model grid.

    Args:
        seed: Its seed.
        hu: int16 `[i, j, k]`, RAS+ axes.
        labels: uint8 structure labelmap.
        lesions: int32, bit f set where finding f was drawn.
        present: Indices of the findings it has.
        report: Findings and impression.
        sentences: The report's sentences.
    """

    seed: int
    hu: npt.NDArray[np.int16]
    labels: npt.NDArray[np.uint8]
    lesions: npt.NDArray[np.int32]
    present: tuple[int, ...]
    report: str
    sentences: tuple[StoredSentence, ...]


class CaseStore:
    """A folder of prepared cases.

    Args:
        folder: Where the cases lie; made if absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __contains__(self, seed: int) -> bool:
        return (self._place(seed) / "case.json").is_file()

    def seeds(self) -> list[int]:
        """Seeds of the finished cases, rising."""
        return sorted(int(path.parent.name) for path in self.folder.glob("*/case.json"))

    def write(self, case: StoredCase) -> None:
        """Write a case; a reader sees all of it or nothing."""
        place = self._place(case.seed)
        partial = place.with_name(f".{place.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for name in _ARRAYS:
            blosc2.asarray(
                np.ascontiguousarray(getattr(case, name)), urlpath=str(partial / f"{name}.b2nd"), cparams=_CODEC
            )
        document = {
            "present": list(case.present),
            "report": case.report,
            "sentences": [dataclasses.asdict(sentence) for sentence in case.sentences],
        }
        (partial / "case.json").write_text(json.dumps(document))
        shutil.rmtree(place, ignore_errors=True)
        partial.replace(place)

    def read(self, seed: int) -> StoredCase:
        """Read a case.

        Raises:
            KeyError: If the store does not hold it.
        """
        if seed not in self:
            msg = f"The case store {self.folder.name} has no case {seed}; prepare it first."
            raise KeyError(msg)
        place = self._place(seed)
        document = self.read_text(seed)
        arrays = {name: blosc2.open(str(place / f"{name}.b2nd"), mode="r")[:] for name in _ARRAYS}
        return StoredCase(
            seed=seed,
            present=tuple(document["present"]),
            report=document["report"],
            sentences=tuple(StoredSentence(**sentence) for sentence in document["sentences"]),
            **arrays,
        )

    def read_text(self, seed: int) -> dict:
        """Read what is known of a case besides its voxels: present, report and sentences, as plain values."""
        return json.loads((self._place(seed) / "case.json").read_text())

    def _place(self, seed: int) -> Path:
        return self.folder / f"{seed:07d}"
