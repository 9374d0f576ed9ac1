"""Typed errors a caller can act on; every message says what was expected, what was found and what to do."""

from __future__ import annotations

from typing import ClassVar


class ColipriError(Exception):
    """Base of all errors this package raises for its callers.

    Attributes:
        exit_code: Exit status the command line returns for this error.
        code: Stable machine-readable name, used on the wire and in JSON output.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "error"


class InputError(ColipriError):
    """The input cannot be used; the message names the remedy."""

    exit_code = 3
    code = "unfit-input"


class UnreadableInputError(InputError):
    """The file or folder is missing, truncated, or not an image."""

    code = "unreadable-input"


class UnsupportedVolumeError(InputError):
    """The file was read, but is not a 3D CT volume this package can process correctly."""

    code = "unsupported-volume"


class SeveralSeriesError(UnsupportedVolumeError):
    """A DICOM folder or zip holds more than one image series.

    Attributes:
        series: One line a series: its identifier and what it shows.
    """

    code = "several-series"

    def __init__(self, message: str, *, series: dict[str, str]) -> None:
        super().__init__(message)
        self.series = series


class StoreError(InputError):
    """The case store cannot be used: it is missing, damaged, no store at all, or of a newer format."""

    code = "unfit-store"


class StoreModelError(StoreError):
    """The case store was made with other weights; vectors of two models cannot be compared.

    Attributes:
        stored: Hash of the weights the store was made with.
        given: Hash of the weights that were to be used with it.
    """

    code = "store-of-other-weights"

    def __init__(self, message: str, *, stored: str, given: str) -> None:
        super().__init__(message)
        self.stored = stored
        self.given = given


class StoreBusyError(StoreError):
    """Another process is writing to the case store."""

    code = "store-busy"


class OutputError(ColipriError, OSError):
    """A file cannot be written: no room, no permission, or another file would be lost. What stood there is unchanged.

    Args:
        message: What was to be written, what was found and what to do.
        cause: The operating system's error, if there was one; its `errno` and `strerror` are this error's as well.
    """

    exit_code = 3
    code = "unwritable-output"

    def __init__(self, message: str, cause: OSError | None = None) -> None:
        super().__init__(message)
        self.message = message
        if cause is not None:
            self.errno, self.strerror = cause.errno, cause.strerror

    def __str__(self) -> str:
        return self.message


class ModelUnavailableError(ColipriError):
    """The model cannot be found, fetched or reached."""

    exit_code = 4
    code = "model-unavailable"


class BundleError(ModelUnavailableError):
    """The bundle is damaged or does not fit: a wrong key, hash or field, which the message names."""

    code = "bad-bundle"


class UnsafeCheckpointError(BundleError):
    """The checkpoint is a pickle, which could run code when opened; only safetensors are read."""

    code = "unsafe-checkpoint"


class ServerUnreachableError(ModelUnavailableError):
    """No server answers at the URL, or the connection broke and could not be made again."""

    code = "server-unreachable"


class ServerTimeoutError(ServerUnreachableError):
    """The server did not answer in time; the message says which part of the call took too long."""

    code = "server-timeout"


class ServerTokenError(ModelUnavailableError):
    """The server wants a token, or another one."""

    code = "bad-token"


class ProtocolMismatchError(ModelUnavailableError):
    """The server and this package speak different versions of the protocol, or the URL is that of another service."""

    code = "protocol-mismatch"


class ServerBusyError(ModelUnavailableError):
    """The server has as many sessions or calls as it may have; try again later."""

    code = "server-busy"


class ServerStoppingError(ServerBusyError):
    """The server is being stopped; sessions and edits it answered are saved."""

    code = "server-stopping"


class ServerFullError(ModelUnavailableError):
    """The server's disk has no room left for a volume; whoever runs it must make some."""

    code = "server-full"


class ServerFaultError(ColipriError):
    """Something went wrong inside the server; its log says what."""

    code = "server-fault"


class ProtocolError(ColipriError):
    """A body or frame is not what the wire protocol says; see `colipri_core.remote.protocol`."""

    code = "malformed"


class TooLargeError(InputError):
    """What was sent is larger than the server allows."""

    code = "too-large"


class NotFoundError(ColipriError):
    """The server has no such route, store or result."""

    code = "not-found"


class VolumeUnknownError(NotFoundError):
    """The server does not hold the volume, or no longer; it must be sent again."""

    code = "volume-unknown"


class SessionUnknownError(NotFoundError):
    """The server does not know the session, or no longer: its lease ran out, or the server was started anew."""

    code = "session-unknown"


class OutOfStepError(ColipriError):
    """An edit was sent that does not follow the last one the server made; nothing was changed.

    Attributes:
        revision: Number of edits, undos and redos the server has made.
    """

    code = "out-of-step"

    def __init__(self, message: str, *, revision: int) -> None:
        super().__init__(message)
        self.revision = revision


class CapabilityError(ColipriError):
    """The opened model lacks the part that was asked for, such as a structure head."""

    exit_code = 4
    code = "not-supported-by-model"


class MissingDependencyError(ColipriError):
    """An optional package is not installed; the message gives the install command."""

    exit_code = 4
    code = "missing-dependency"


class SessionClosedError(ColipriError):
    """The session or engine was already closed."""

    code = "session-closed"


class ObjectLockedError(ColipriError):
    """The object is locked against edits; unlock it first."""

    code = "object-locked"


class EmptyHistoryError(ColipriError):
    """There is no edit left to undo, or to redo."""

    code = "empty-history"


class AutosaveError(ColipriError):
    """The journal of edits cannot be written or read; the edit it was for was not made."""

    code = "autosave-failed"


class Cancelled(ColipriError):  # noqa: N818 - an outcome the user chose, not a failure
    """The caller cancelled the work; the session stays usable."""

    exit_code = 130
    code = "cancelled"


class VolumeWarning(UserWarning):
    """The volume can be read, but a result from it needs care; the text says why."""
