"""Prepared volumes on disk: whole scans at the model's orientation and spacing, read by crop.

    prepared.json           the grid, chunk sizes and versions
    index.jsonl             one line a volume: ids, split, report, labels, shape, affine, hashes; written last
    volumes/xx/ID.b2nd      int16 HU, compressed in chunks (blosc2)
    refused.csv             what could not be used, and why

A volume is neither cropped to the model's size nor windowed, so one preparation serves every crop size and intensity
window at its spacing. Every file takes its place by one rename. A volume carries its own record, by which an
interrupted preparation goes on; readers look at the index alone, which names only finished files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt

from colipri_core.errors import InputError
from colipri_core.preprocess_spec import PreprocessSpec

FORMAT = 1
SETTINGS = "prepared.json"
INDEX = "index.jsonl"
VOLUMES = "volumes"
HU_RANGE = (-1024, 3071)
"""Values are clamped to the 12 bits scanners write; beyond lie padding and metal."""

_DAMAGE = (OSError, RuntimeError, ArithmeticError, LookupError, ValueError, TypeError, AttributeError, SyntaxError)
"""What blosc2 raises on files that are missing or changed: the header is parsed with little distrust."""

Span = tuple[int, int]


class PreparedDataError(InputError):
    """The folder holds no finished preparation, one on another grid, or a damaged file."""

    code = "bad-prepared-data"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Storage:
    """How arrays are cut and compressed.

    The defaults are among the fastest for crops in `benchmarks/loader.py`, and smaller than the others that are.

    Args:
        chunk: Edge of a chunk, the unit that is read from disk, in voxels.
        block: Edge of a block, the unit that is decompressed, in voxels.
        codec: Name of the blosc2 codec.
        order: Name of the blosc2 filter that puts like bytes (SHUFFLE) or bits (BITSHUFFLE) side by side.
        level: Compression level.
    """

    chunk: int = 64
    block: int = 32
    codec: str = "LZ4HC"
    order: str = "SHUFFLE"
    level: int = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """What a prepared volume says of itself.

    Args:
        shape: Voxels along the axes of the grid.
        affine: Voxel -> RAS+ mm, row by row.
        body: First voxel and one past the last of the patient's body, for each axis.
        minimum_hu: Smallest value.
        source_sha256: Hash of the source's bytes.
        voxels_sha256: Hash of the prepared values, little-endian, last axis fastest.
        fingerprint: Size, time and correction of the source, by which a change is noticed.
        notes: What the reader had doubts about.
        source_spacing_mm: Voxel size of the source from left to right, front to back and head to foot; empty where an
            older version prepared it.
    """

    shape: tuple[int, int, int]
    affine: tuple[float, ...]
    body: tuple[Span, Span, Span]
    minimum_hu: int
    source_sha256: str
    voxels_sha256: str
    fingerprint: tuple[float | str, ...]
    notes: tuple[str, ...] = ()
    source_spacing_mm: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Record:
        """Read what `dataclasses.asdict` wrote to JSON or msgpack.

        Raises:
            TypeError: If fields are missing or unknown.
        """
        return cls(**{name: _tuples(value) for name, value in values.items()})


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedVolume:
    """One line of the index.

    Args:
        id: Name of the volume.
        patient: Whose it is.
        split: "train", "validation" or "test".
        report: Its report, or None.
        labels: 1 present, 0 absent, by name.
        file: Path of the array in the folder.
        record: What the array says of itself.
        study: Which study it is a reconstruction of; empty if it is the only one of its own.
    """

    id: str
    patient: str
    split: str
    report: str | None
    labels: Mapping[str, int]
    file: str
    record: Record
    study: str = ""


class PreparedVolumes:
    """A finished preparation.

    Args:
        folder: Where `colipri-train prepare` wrote.

    Raises:
        PreparedDataError: If there is none, it is unfinished, or of another format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = read_settings(folder)
        try:
            self.orientation = str(settings["orientation"])
            self.spacing_mm = tuple(float(value) for value in settings["spacing_mm"])
        except (KeyError, TypeError, ValueError) as error:
            raise _bad_settings(folder, error) from error
        if not (folder / INDEX).is_file():
            msg = f'The preparation in "{folder.name}" has not finished. Run `colipri-train prepare` on it again.'
            raise PreparedDataError(msg)
        try:
            lines = (folder / INDEX).read_text(encoding="ascii").splitlines()
        except UnicodeDecodeError as error:
            raise _bad_index(folder, error) from error
        self.volumes = tuple(_read_line(folder, line) for line in lines)

    def check_grid(self, spec: PreprocessSpec) -> None:
        """Raise if volumes do not lie on a model's grid.

        Raises:
            PreparedDataError: If orientation or spacing differ.
        """
        if (self.orientation, self.spacing_mm) != (spec.orientation, spec.spacing_mm):
            msg = (
                f"Expected volumes in {spec.orientation} at {spec.spacing_mm} mm, found {self.orientation} at "
                f'{self.spacing_mm} mm in "{self.folder.name}". Prepare the data set for this recipe.'
            )
            raise PreparedDataError(msg)

    def crop(self, volume: PreparedVolume, start: Sequence[int], size: Sequence[int]) -> npt.NDArray[np.int16]:
        """Read a box of a volume; what lies outside is its smallest value.

        Args:
            volume: Which.
            start: First voxel along each axis; may be negative.
            size: Voxels along each axis.

        Returns:
            int16 HU of that size.

        Raises:
            PreparedDataError: If the file is missing or damaged.
        """
        return read_crop(self.folder / volume.file, start, size, fill=volume.record.minimum_hu)

    def verify(self, volume: PreparedVolume) -> None:
        """Read a whole volume and compare it with its hash: a flipped bit on disk goes unseen by a crop.

        Raises:
            PreparedDataError: If it is missing or differs.
        """
        hu = self.crop(volume, (0, 0, 0), volume.record.shape)
        if hash_voxels(hu) != volume.record.voxels_sha256:
            msg = f'The prepared volume "{volume.id}" was changed on disk. Delete it and prepare again.'
            raise PreparedDataError(msg)


def check_apart(sources: Sequence[PreparedVolumes]) -> None:
    """Refuse data sets that cannot be mixed: one that is named twice, or a patient in different splits of two.

    Raises:
        ValueError: If one is named twice.
        PreparedDataError: If a patient would be trained on and tested with.
    """
    folders = Counter(source.folder.resolve() for source in sources)
    if twice := [folder.name for folder, times in folders.items() if times > 1]:
        msg = f"Expected every data set once, found twice: {', '.join(twice)}. Name each folder once."
        raise ValueError(msg)
    places: dict[str, dict[str, str]] = defaultdict(dict)
    for source in sources:
        for volume in source.volumes:
            places[volume.patient].setdefault(volume.split, source.folder.name)
    torn = [(patient, found) for patient, found in places.items() if len(found) > 1]
    if torn:
        patient, found = torn[0]
        where = ", ".join(f"{split} of {folder}" for split, folder in sorted(found.items()))
        msg = (
            f"Expected every patient in one split of all data sets, found {len(torn)} in several, such as {patient} "
            f"({where}). Move them to the same split, or rename those that are others, and prepare again."
        )
        raise PreparedDataError(msg)


def read_settings(folder: Path) -> dict[str, Any]:
    """Read what a preparation was made with.

    Raises:
        PreparedDataError: If there is none, or it is damaged or has another format.
    """
    path = folder / SETTINGS
    if not path.is_file():
        msg = f'Expected prepared volumes in "{folder.name}", found none. Run `colipri-train prepare` first.'
        raise PreparedDataError(msg)
    try:
        settings: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _bad_settings(folder, error) from error
    if not isinstance(settings, dict):
        raise _bad_settings(folder, TypeError(f"a {type(settings).__name__} in place of an object"))
    if settings.get("format") != FORMAT:
        msg = f'Expected format {FORMAT} in "{folder.name}", found {settings.get("format")}. Prepare it again.'
        raise PreparedDataError(msg)
    return settings


def place_of(identifier: str) -> str:
    """Path of a volume in its folder; 256 folders share the files, since one of 50,000 is slow to list."""
    return f"{VOLUMES}/{hashlib.sha256(identifier.encode()).hexdigest()[:2]}/{identifier}.b2nd"


def hash_voxels(hu: npt.NDArray[np.int16]) -> str:
    """Hash the values of a prepared volume."""
    return hashlib.sha256(np.ascontiguousarray(hu, dtype="<i2").data).hexdigest()


def encode(hu: npt.NDArray[np.int16], record: Record, storage: Storage) -> bytes:
    """Compress a volume with its record into the bytes of a file.

    In memory first: a full disk then stops one plain write, which reports it, instead of a library's.
    """
    chunks = tuple(min(storage.chunk, size) for size in hu.shape)
    array = blosc2.asarray(
        np.ascontiguousarray(hu),
        chunks=chunks,
        blocks=tuple(min(storage.block, size) for size in chunks),
        cparams={
            "codec": blosc2.Codec[storage.codec],
            "clevel": storage.level,
            "filters": [blosc2.Filter[storage.order]],
            "nthreads": 1,
        },
    )
    array.schunk.vlmeta["record"] = json.dumps(dataclasses.asdict(record))
    return bytes(array.to_cframe())


def read_record(path: Path) -> Record | None:
    """Read the record of a volume; None if the file is missing, damaged or of another kind."""
    try:
        array = blosc2.open(str(path), mode="r")
        return Record.from_json(json.loads(array.schunk.vlmeta["record"]))
    except _DAMAGE:
        return None


def read_crop(path: Path, start: Sequence[int], size: Sequence[int], *, fill: int) -> npt.NDArray[np.int16]:
    """Read a box of an array file; see `PreparedVolumes.crop`."""
    covered: npt.NDArray[np.int16]
    try:
        array = blosc2.open(str(path), mode="r", dparams={"nthreads": 1})
        low = [max(0, first) for first in start]
        high = [min(first + length, end) for first, length, end in zip(start, size, array.shape, strict=True)]
        spans = [slice(first, last) for first, last in zip(low, high, strict=True)]
        if any(span.stop <= span.start for span in spans):
            return np.full(size, fill, dtype=np.int16)
        covered = array[tuple(spans)]
        if covered.dtype != np.int16:
            msg = f"values of {covered.dtype}"
            raise TypeError(msg)
    except _DAMAGE as error:
        msg = f'The prepared volume "{path.stem}" is missing or damaged ({error}). Delete it and prepare again.'
        raise PreparedDataError(msg) from error
    if covered.shape == tuple(size):
        return covered
    box = np.full(size, fill, dtype=np.int16)
    box[tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))] = covered
    return box


def body_of(hu: npt.NDArray[np.int16], *, air_hu: int = -500, least: float = 0.005) -> tuple[Span, Span, Span]:
    """Bound the body: planes in which at least 0.5 % of the voxels are denser than -500 HU (both our choice)."""
    dense = hu[::2, ::2, ::2] > air_hu
    spans = []
    for axis, size in enumerate(hu.shape):
        others = tuple(other for other in range(3) if other != axis)
        planes = np.flatnonzero(dense.mean(axis=others) >= least)
        spans.append((2 * int(planes[0]), min(2 * int(planes[-1]) + 2, size)) if planes.size else (0, size))
    x, y, z = spans
    return x, y, z


def _read_line(folder: Path, line: str) -> PreparedVolume:
    try:
        values = json.loads(line)
        return PreparedVolume(**(values | {"record": Record.from_json(values["record"])}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _bad_index(folder, error) from error


def _bad_settings(folder: Path, error: Exception) -> PreparedDataError:
    return PreparedDataError(
        f'Expected what a data set was prepared with in "{folder.name}/{SETTINGS}", found something else '
        f"({type(error).__name__}: {error}). Restore that file, or prepare the data set again in another folder."
    )


def _bad_index(folder: Path, error: Exception) -> PreparedDataError:
    return PreparedDataError(
        f'The index of "{folder.name}", {INDEX}, is damaged ({type(error).__name__}: {error}). '
        "Run `colipri-train prepare` on it again."
    )


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
