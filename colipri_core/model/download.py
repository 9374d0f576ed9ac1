"""Fetching files of a hub repository: resumable, verified, usable from the cache without a network.

The hub client resolves names to addresses, sizes and hashes; the bytes are fetched here, because the client (2.x)
starts an interrupted file from zero and never checks the hash of what arrived. A file is kept as
`<cache>/owner--name/<commit>/<file>`, beside a `.partial` while it is incomplete. The commit a revision had when it was
first fetched is recorded and used from then on: weights never change under a user. Files that the hub client itself
put in its cache (`hf download`) are found and used too, so a machine without network can be given that cache.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from huggingface_hub import try_to_load_from_cache

from colipri_core.errors import ModelUnavailableError
from colipri_core.model.transfer import RemoteFile
from colipri_core.model.transfer import resolve
from colipri_core.model.transfer import transfer
from colipri_core.progress import Reporter

logger = logging.getLogger(__name__)

_INDEX = "files.json"
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CHUNK = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A hub repository at a revision.

    Attributes:
        repo_id: "owner/name".
        revision: Branch, tag or commit.
    """

    repo_id: str
    revision: str = "main"

    @property
    def folder_name(self) -> str:
        """Name of its folder in the cache."""
        return self.repo_id.replace("/", "--")


def default_model_cache() -> Path:
    """Return where fetched models are kept: COLIPRI_MODELS, or the user's cache folder."""
    wanted = os.environ.get("COLIPRI_MODELS")
    return Path(wanted) if wanted else platformdirs.user_cache_path("colipri", appauthor=False) / "models"


def fetch(
    repository: Repository, names: Sequence[str], *, report: Reporter, cache_dir: Path | None = None
) -> dict[str, Path]:
    """Return local, verified copies of files, fetching what is not there.

    Args:
        repository: Where they come from.
        names: File names in the repository.
        report: Receives the fetched fraction; its cancellation keeps what has arrived for the next call.
        cache_dir: Where files are kept; None for `default_model_cache()`.

    Returns:
        File name -> path.

    Raises:
        ModelUnavailableError: If the hub cannot be reached and the cache has no copy, the repository, revision or
            file does not exist, or a file's hash is wrong; the message says what to do.
        Cancelled: If the reporter's cancel token is set.
    """
    folder = (cache_dir or default_model_cache()) / repository.folder_name
    for found in (_own_copies(folder, repository, names), _client_copies(repository, names)):
        if found is not None:
            return found
    remote = [resolve(repository.repo_id, name, revision=repository.revision) for name in names]
    commit = remote[0].commit
    if any(file.commit != commit for file in remote):
        remote = [resolve(repository.repo_id, name, revision=commit) for name in names]
    paths = _download(folder / commit, remote, report)
    _write(folder / "refs" / repository.revision.replace("/", "--"), commit)
    return paths


def verify(path: Path, etag: str) -> None:
    """Check a file against the hash the hub gave for it, and delete it if it is wrong.

    Args:
        path: The file.
        etag: SHA-256 of a large file, or git's SHA-1 of a small one.

    Raises:
        ModelUnavailableError: If the hash is wrong.
    """
    digest = hashlib.sha256()
    if len(etag) == 40:  # git hashes a header before the content
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() == etag:
        return
    path.unlink()
    msg = (
        f"Expected the hash {etag} for {path.name}, found {digest.hexdigest()}: the file was damaged on its way or on "
        "disk. The damaged copy was deleted; open the model again to fetch it anew."
    )
    raise ModelUnavailableError(msg)


def _download(folder: Path, files: Sequence[RemoteFile], report: Reporter) -> dict[str, Path]:
    """Fetch the files of one commit that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    index = _read_index(folder)
    total = max(sum(file.size for file in files), 1)
    done = 0
    for file in files:
        path = folder / file.name
        if not path.is_file():
            partial = path.with_name(f"{file.name}.partial")
            transfer(file, partial, report.part(done / total, (done + file.size) / total))
            verify(partial, file.etag)
            partial.replace(path)
        index[file.name] = file.etag
        _write(folder / _INDEX, json.dumps(index, indent=2))
        done += file.size
    return {file.name: folder / file.name for file in files}


def _own_copies(folder: Path, repository: Repository, names: Sequence[str]) -> dict[str, Path] | None:
    ref = folder / "refs" / repository.revision.replace("/", "--")
    commit = folder / (ref.read_text().strip() if ref.is_file() else repository.revision)
    index = _read_index(commit)
    paths = {name: commit / name for name in names}
    if any(name not in index or not path.is_file() for name, path in paths.items()):
        return None
    for name, path in paths.items():
        verify(path, index[name])
    return paths


def _client_copies(repository: Repository, names: Sequence[str]) -> dict[str, Path] | None:
    """Look into the hub client's cache, whose files are named by their hash."""
    paths = {}
    for name in names:
        found = try_to_load_from_cache(repository.repo_id, name, revision=repository.revision)
        if not isinstance(found, str):
            return None
        paths[name] = Path(found)
    for name, path in paths.items():
        blob = path.resolve()
        if _HASH.fullmatch(blob.name):
            verify(blob, blob.name)
        else:
            logger.warning("%s in the hub client's cache carries no hash and was not verified", name)
    return paths


def _read_index(folder: Path) -> dict[str, str]:
    try:
        index: dict[str, str] = json.loads((folder / _INDEX).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return index


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.replace(path)
