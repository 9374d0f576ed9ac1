"""Features of volumes, computed once for each bundle and kept on disk, one file a volume; resumable.

A file takes its place by one rename and names the weights, the voxels and the format it was made for, so what is
interrupted, changed or of another version is computed again. Beside the vectors it keeps what needs the whole patch
grid and is therefore measured in the same pass: the written report, the overlap of outlines, the pointing game.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from colipri_core.errors import BundleError
from colipri_core.io.atomic import atomic_file
from colipri_training.evaluation.cases import Case
from colipri_training.evaluation.cases import OnMade
from colipri_training.evaluation.cases import Source
from colipri_training.evaluation.encoder import Encoder
from colipri_training.evaluation.names import file_name
from colipri_training.evaluation.overlap import structure_overlaps
from colipri_training.evaluation.prompts import UNSEEN
from colipri_training.evaluation.prompts import bundle_directions
from colipri_training.evaluation.prompts import text_vectors
from colipri_training.evaluation.zero_shot import lesion_hits

FORMAT = 1
_VECTORS = ("joint", "mean", "maximum")

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """The features of the cases of one split.

    Args:
        cases: The cases, in order.
        joint: (N, E) unit vectors of the volumes.
        mean: (N, C) means of the raw tokens.
        maximum: (N, C) maxima of the raw tokens.
        texts: (N, E) unit vectors of the reports; zeros where there is none.
        files: Where the tokens of each case lie.
        records: What else was measured of each case: "report", "structures", "hits".
    """

    cases: tuple[Case, ...]
    joint: Tensor
    mean: Tensor
    maximum: Tensor
    texts: Tensor
    files: tuple[Path, ...]
    records: tuple[Record, ...]

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def patients(self) -> list[str]:
        """Whose each case is."""
        return [case.patient for case in self.cases]

    def tokens(self, index: int) -> Tensor:
        """(n, C) float32 raw tokens of a case."""
        with safe_open(self.files[index], framework="pt") as stream:
            tokens: Tensor = stream.get_tensor("tokens")
        return tokens.float()


class FeatureStore:
    """Computes features of cases with one bundle, or reads them.

    Args:
        encoder: The bundle.
        folder: Where files of all bundles are kept.
    """

    def __init__(self, encoder: Encoder, folder: Path) -> None:
        self._encoder = encoder
        self._identity = _identity(encoder)
        self._folder = folder / f"{file_name(encoder.bundle.spec.name)}-{self._identity[:12]}"
        self._directions: Tensor | None = None

    def features(
        self, source: Source, cases: Sequence[Case], *, outlined: int = 0, on_case: OnMade | None = None
    ) -> Features:
        """Return the features of the cases of one split.

        Args:
            source: The data set.
            cases: Its cases.
            outlined: In how many cases, from the first on, outlines are compared with the reference.
            on_case: Told the number of finished cases and of all.

        Raises:
            BundleError: If the model gives NaN or infinity.
        """
        files = tuple(self._folder / source.name / case.split / f"{case.id}.safetensors" for case in cases)
        rows: list[tuple[dict[str, Tensor], Record]] = []
        for done, (case, path) in enumerate(zip(cases, files, strict=True), start=1):
            needs = self._needs(source, case, outlined=done <= outlined)
            path.parent.mkdir(parents=True, exist_ok=True)
            rows.append(self._read(path, case, needs) or self._make(path, source, case, needs))
            if on_case is not None:
                on_case(done, len(cases))
        vectors = {name: _stacked(row[name] for row, _ in rows) for name in (*_VECTORS, "text")}
        return Features(
            cases=tuple(cases),
            joint=vectors["joint"],
            mean=vectors["mean"],
            maximum=vectors["maximum"],
            texts=vectors["text"],
            files=files,
            records=tuple(record for _, record in rows),
        )

    def _needs(self, source: Source, case: Case, *, outlined: bool) -> set[str]:
        """What has to be measured of a case beside its vectors; only cases under test are."""
        if case.split != "test":
            return set()
        bundle = self._encoder.bundle
        needs = {"report"} if bundle.report_decoder is not None and case.report is not None else set()
        if source.has_reference:
            needs |= {"hits"}
            needs |= {"structures"} if outlined and bundle.structure_head is not None else set()
        return needs

    def _key(self, case: Case) -> str:
        text = case.report or ""
        return json.dumps([FORMAT, self._identity, case.fingerprint, text])

    def _read(self, path: Path, case: Case, needs: set[str]) -> tuple[dict[str, Tensor], Record] | None:
        try:
            with safe_open(path, framework="pt") as stream:
                metadata = stream.metadata() or {}
                record: Record = json.loads(metadata.get("record", "{}"))
                if metadata.get("key") != self._key(case) or not needs <= set(record):
                    return None
                return {name: stream.get_tensor(name) for name in (*_VECTORS, "text")}, record
        except (FileNotFoundError, SafetensorError):
            return None

    def _make(self, path: Path, source: Source, case: Case, needs: set[str]) -> tuple[dict[str, Tensor], Record]:
        encoder, spec = self._encoder, self._encoder.bundle.spec.preprocessing
        image = source.image(case, spec)
        grid = encoder.grid(image)
        encoded = encoder.summarise(grid)
        if not torch.isfinite(encoded.joint).all():
            name = encoder.bundle.spec.name
            msg = (
                f'Expected finite features, the model "{name}" gave NaN or infinity for "{case.id}". '
                "Its weights are damaged, or training diverged."
            )
            raise BundleError(msg)
        text = torch.zeros_like(encoded.joint)
        if case.report is not None:
            text = text_vectors(encoder.bundle, [case.report])[0]
        record = dict(self._measure(source, case, image, grid, needs))
        tensors = {name: getattr(encoded, name).contiguous() for name in (*_VECTORS, "tokens")} | {"text": text}
        with atomic_file(path, path.suffix) as temporary:
            save_file(tensors, temporary, metadata={"key": self._key(case), "record": json.dumps(record)})
        return tensors, record

    def _measure(
        self, source: Source, case: Case, image: Tensor, grid: Tensor, needs: set[str]
    ) -> Iterator[tuple[str, Any]]:
        if "report" in needs:
            yield "report", self._encoder.write_report(grid)
        spec = self._encoder.bundle.spec
        reference = source.reference(case, spec.preprocessing) if needs & {"hits", "structures"} else None
        if reference is None:
            return
        if self._directions is None:
            self._directions = bundle_directions(self._encoder.bundle, UNSEEN)
        maps = self._encoder.maps(grid, self._directions)
        found = lesion_hits(maps, reference, self._encoder.bundle.model.config.image.patch_size)
        yield "hits", [None if np.isnan(value) else value for value in found]
        if "structures" in needs:
            assert spec.structures is not None, "asked for only where the bundle has a structure head"
            labels = self._encoder.labelmap(image, grid).numpy()
            yield (
                "structures",
                structure_overlaps(labels, spec.structures.names, reference, spec.preprocessing.spacing_mm),
            )


def _identity(encoder: Encoder) -> str:
    """Hash of all that decides features beside the volume and its report; a calibration does not."""
    spec = encoder.bundle.spec
    parts = [encoder.bundle.sha256, spec.preprocessing.to_json(), spec.window, spec.text.to_json()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def recorded_hits(features: Features) -> npt.NDArray[np.float64]:
    """(N, F) pointing game of the cases; NaN where a finding is absent."""
    return np.array([record["hits"] for record in features.records], dtype=np.float64)


def _stacked(rows: Iterator[Tensor]) -> Tensor:
    vectors = list(rows)
    return torch.stack(vectors).float() if vectors else torch.zeros(0, 0)
