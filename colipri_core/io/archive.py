"""Zip archives of a DICOM series or of one image, unpacked to a temporary folder under guard.

No path from the archive is ever used: every folder gets a number and files keep only their last name, so nothing can be
written elsewhere. What would unpack to more than the limits is refused before, and again while it is unpacked.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pathlib import PurePosixPath

from colipri_core.errors import UnreadableInputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.io.checks import refusal

MAX_BYTES = 16 * 2**30
MAX_FILES = 50_000
MAX_RATIO = 200
_FREE_BYTES = 64 * 2**20  # small archives may compress as well as they like
_CHUNK = 2**20


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """Unpack an archive for the duration of a `with` block.

    Args:
        archive: The zip file.

    Yields:
        A temporary folder with its files, in numbered folders.

    Raises:
        UnreadableInputError: If it is damaged, encrypted or empty.
        UnsupportedVolumeError: If it is too large, or compressed beyond what images are.
    """
    with tempfile.TemporaryDirectory(prefix="colipri-") as folder:
        try:
            with zipfile.ZipFile(archive) as opened:
                members = [member for member in opened.infolist() if not member.is_dir()]
                _check(archive, members)
                for member, target in zip(members, _targets(Path(folder), members), strict=True):
                    _unpack(archive, opened, member, target)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            found = "a damaged, truncated or encrypted archive"
            remedy = "Unpack it yourself, and read the folder."
            message = refusal(archive.name, expected="a zip archive", found=found, remedy=remedy)
            raise UnreadableInputError(message) from error
        yield Path(folder)


def _check(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    if not members:
        remedy = "Pack the files of one DICOM series, or one image file."
        message = refusal(archive.name, expected="images in the archive", found="no files", remedy=remedy)
        raise UnreadableInputError(message)
    size = sum(member.file_size for member in members)
    packed = max(1, sum(member.compress_size for member in members))
    if size > MAX_BYTES or len(members) > MAX_FILES or (size > _FREE_BYTES and size > MAX_RATIO * packed):
        message = refusal(
            archive.name,
            expected=f"at most {MAX_BYTES / 2**30:.0f} GiB, {MAX_FILES} files and {MAX_RATIO}-fold compression",
            found=f"{len(members)} files, {size / 2**30:.2f} GiB packed into {packed / 2**30:.4f} GiB",
            remedy="If the archive is genuine, unpack it yourself and read the folder.",
        )
        raise UnsupportedVolumeError(message)


def _targets(folder: Path, members: list[zipfile.ZipInfo]) -> list[Path]:
    numbers: dict[str, str] = {}
    targets = []
    for place, member in enumerate(members):
        path = PurePosixPath(member.filename.replace("\\", "/"))
        parent = numbers.setdefault(str(path.parent), f"{len(numbers):05d}")
        name = path.name if path.name not in ("", ".", "..") else f"file{place}"
        targets.append(folder / parent / name)
    return targets


def _unpack(archive: Path, opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    with opened.open(member) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink, _CHUNK)
        if sink.tell() > member.file_size:
            found = "more data than its directory states"
            remedy = "Do not use this archive."
            raise UnsupportedVolumeError(refusal(archive.name, expected="a zip archive", found=found, remedy=remedy))
