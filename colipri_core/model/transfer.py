"""One file from a hub to disk over HTTP: its address and hash, and a download that continues where it stopped."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from httpx2 import HTTPError
from httpx2 import TransportError
from huggingface_hub import get_hf_file_metadata
from huggingface_hub import get_session
from huggingface_hub import hf_hub_url
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.errors import RevisionNotFoundError
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]
from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

from colipri_core.errors import ModelUnavailableError
from colipri_core.progress import Reporter

_CHUNK = 1 << 20
_ATTEMPTS = 5
_WAIT_SECONDS = 1.0
_TIMEOUT_SECONDS = 30.0
_PARTIAL_CONTENT = 206
_MEGABYTE = 1e6


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of a repository as the hub describes it.

    Attributes:
        repo_id: "owner/name".
        name: File name in the repository.
        commit: Commit that the asked revision stands for.
        url: Address on the hub.
        location: Address of the bytes, on the hub or a content network.
        size: Bytes.
        etag: SHA-256 of a large file, git's SHA-1 of a small one.
    """

    repo_id: str
    name: str
    commit: str
    url: str
    location: str
    size: int
    etag: str


def resolve(repo_id: str, name: str, *, revision: str) -> RemoteFile:
    """Ask the hub (HF_ENDPOINT if set) for a file's commit, address, size and hash.

    Raises:
        ModelUnavailableError: If the hub cannot be reached or does not have the file.
    """
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    url = hf_hub_url(repo_id, name, revision=revision, endpoint=endpoint)
    with _hub_errors(repo_id, name, url):
        found = get_hf_file_metadata(url, endpoint=endpoint)
    if found.commit_hash is None or found.etag is None or found.size is None:
        msg = f"Expected commit, hash and size of {name} from {url}, got none. Check HF_ENDPOINT and the proxy."
        raise ModelUnavailableError(msg)
    return RemoteFile(
        repo_id=repo_id,
        name=name,
        commit=found.commit_hash,
        url=url,
        location=found.location,
        size=found.size,
        etag=found.etag,
    )


def transfer(file: RemoteFile, partial: Path, report: Reporter) -> None:
    """Append what is missing of a file to its partial copy, trying again after an interruption.

    Args:
        file: What to fetch.
        partial: Its incomplete copy; kept on any failure, so that the next call continues.
        report: Receives the fetched fraction; its cancellation ends the transfer.

    Raises:
        ModelUnavailableError: If the connection fails for good or the disk is full.
        Cancelled: If the reporter's cancel token is set.
    """
    if partial.is_file() and partial.stat().st_size > file.size:
        partial.unlink()
    with _hub_errors(file.repo_id, file.name, file.url), partial.open("ab") as stream:
        failures = 0
        while (before := stream.tell()) < file.size:
            try:
                for chunk in _chunks(file, stream):
                    stream.write(chunk)
                    report(stream.tell() / file.size, _message(file, stream.tell()))
            except TransportError:
                failures = 0 if stream.tell() > before else failures + 1
                if failures == _ATTEMPTS:
                    raise
                time.sleep(_WAIT_SECONDS)


def _chunks(file: RemoteFile, stream: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes after those the stream has; begin again if the server cannot continue."""
    on_hub = urlsplit(file.location).netloc == urlsplit(file.url).netloc
    headers = build_hf_headers(token=None if on_hub else False)  # a content network must not see the hub's token
    headers |= {"Accept-Encoding": "identity", "Range": f"bytes={stream.tell()}-"}
    with get_session().stream(
        "GET", file.location, headers=headers, follow_redirects=True, timeout=_TIMEOUT_SECONDS
    ) as response:
        hf_raise_for_status(response)
        if response.status_code != _PARTIAL_CONTENT:
            stream.truncate(0)
            stream.seek(0)
        yield from response.iter_bytes(_CHUNK)


def _message(file: RemoteFile, done: int) -> str:
    return f"Fetching {file.name} of {file.repo_id}: {done / _MEGABYTE:.0f} of {file.size / _MEGABYTE:.0f} MB"


@contextmanager
def _hub_errors(repo_id: str, name: str, url: str) -> Iterator[None]:
    """Turn what can go wrong with a hub into one typed error that says what to do."""
    try:
        yield
    except (RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError) as error:
        msg = (
            f"Expected {name} in the hub repository {repo_id} (there is no such folder here), but {url} does not exist "
            f"or is not open to you ({type(error).__name__}). Check the id and revision; for a gated repository, log "
            "in with: hf auth login"
        )
        raise ModelUnavailableError(msg) from error
    except (TransportError, OfflineModeIsEnabled) as error:
        msg = (
            f"Expected to fetch {name} of {repo_id} (there is no such folder here), but {url} cannot be reached "
            f"({error}), and there is no verified copy on this machine. Connect once, set HF_ENDPOINT to a mirror of "
            "the hub, or copy the folder COLIPRI_MODELS points to from a machine that has the model. What has arrived "
            "is kept."
        )
        raise ModelUnavailableError(msg) from error
    except HTTPError as error:
        msg = f"Expected to fetch {name} of {repo_id}, but the hub answered: {error}. Try again later."
        raise ModelUnavailableError(msg) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        msg = f"Expected room for {name} of {repo_id}, but the disk is full. Free space, or set COLIPRI_MODELS."
        raise ModelUnavailableError(msg) from error
