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
