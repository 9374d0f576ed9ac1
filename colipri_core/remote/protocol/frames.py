"""A frame: one message with its arrays.

    magic "CLPR" | uint8 version | uint8 kind | uint32 size of header | uint64 size of arrays | header | arrays

in little-endian order. The header is the JSON object `{"body": {...}, "arrays": [ArrayHeader, ...]}`; the arrays
follow in its order, each packed as `arrays.py` says. All lengths are known, and checked, before a byte of the rest is
read.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import struct
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any
from typing import NoReturn

import numpy.typing as npt

from colipri_core.errors import ProtocolError
from colipri_core.errors import TooLargeError
from colipri_core.remote.protocol.arrays import Array
from colipri_core.remote.protocol.arrays import ArrayHeader
from colipri_core.remote.protocol.arrays import pack
from colipri_core.remote.protocol.arrays import unpack
from colipri_core.remote.protocol.limits import DEFAULT_LIMITS
from colipri_core.remote.protocol.limits import Limits
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.version import PROTOCOL_VERSION

PREAMBLE = struct.Struct("<4sBBIQ")
"""What every frame begins with."""

_MAGIC = b"CLPR"


class Kind(enum.IntEnum):
    """What a frame is."""

    REQUEST = 1
    PROGRESS = 2
    SENTENCE = 3
    RESULT = 4
    ERROR = 5
    HEADER = 6
    SLAB = 7
    STEP = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preamble:
    """The first bytes of a frame, checked.

    Args:
        kind: What the frame is.
        header_bytes: Length of its header.
        array_bytes: Length of its arrays.
    """

    kind: Kind
    header_bytes: int
    array_bytes: int

    @classmethod
    def of(cls, content: bytes | bytearray | memoryview, limits: Limits = DEFAULT_LIMITS) -> Preamble:
        """Read the first `PREAMBLE.size` bytes.

        Raises:
            ProtocolError: If they do not begin a frame of this version.
            TooLargeError: If they announce more than the limits allow.
        """
        magic, version, kind, header_bytes, array_bytes = PREAMBLE.unpack_from(content)
        if magic != _MAGIC or version != PROTOCOL_VERSION:
            _refuse(f"a frame of version {PROTOCOL_VERSION}", f"{bytes(magic)!r}, version {version}")
        if kind not in Kind.__members__.values():
            _refuse("a known kind of frame", str(kind))
        if header_bytes > limits.header_bytes or PREAMBLE.size + header_bytes + array_bytes > limits.frame_bytes:
            found = f"{header_bytes} of its header and {array_bytes} of arrays"
            _too_large(f"a frame of at most {limits.frame_bytes} bytes, {limits.header_bytes} of its header", found)
        return cls(kind=Kind(kind), header_bytes=header_bytes, array_bytes=array_bytes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Header:
    body: dict[str, Any]
    arrays: tuple[ArrayHeader, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """A frame that was read; its arrays are still packed.

    Args:
        kind: What it is.
        body: JSON values.
        packed: Array name -> its header and bytes.
    """

    kind: Kind
    body: dict[str, Any]
    packed: Mapping[str, tuple[ArrayHeader, memoryview]] = dataclasses.field(default_factory=dict, repr=False)

    def array(self, name: str, *, dtypes: tuple[str, ...], shape: tuple[int | None, ...]) -> Array:
        """Unpack an array whose shape and type are known.

        Args:
            name: Its name.
            dtypes: Types it may have.
            shape: Its shape; None for an axis of any size.

        Raises:
            ProtocolError: If there is no such array, or it is another one.
        """
        header, packed = self.packed.get(name, (None, memoryview(b"")))
        if header is None:
            _refuse(f'an array "{name}"', ", ".join(self.packed) or "none")
        fits = len(header.shape) == len(shape) and all(
            wanted is None or wanted == size for wanted, size in zip(shape, header.shape, strict=True)
        )
        if header.dtype not in dtypes or not fits:
            _refuse(f'"{name}" as {"/".join(dtypes)} of shape {shape}', f"{header.dtype} of shape {header.shape}")
        return unpack(header, packed)


def encode_frame(
    kind: Kind, body: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]] | None = None, *, fast: bool = False
) -> list[bytes | memoryview]:
    """Return a frame as parts to be sent one after the other.

    Args:
        kind: What it is.
        body: JSON values.
        arrays: Its arrays by name.
        fast: See `arrays.pack`.

    Raises:
        ValueError: If an array is of a type that does not travel, or a number is not finite.
    """
    packed = [pack(name, array, fast=fast) for name, array in (arrays or {}).items()]
    document = {"body": dict(body), "arrays": [to_plain(header) for header, _ in packed]}
    header = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    size = sum(header.size for header, _ in packed)
    preamble = PREAMBLE.pack(_MAGIC, PROTOCOL_VERSION, kind, len(header), size)
    return [preamble + header, *(part for _, parts in packed for part in parts)]


def frame_bytes(
    kind: Kind, body: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]] | None = None, *, fast: bool = False
) -> bytes:
    """Return a frame as one piece; see `encode_frame`."""
    return b"".join(encode_frame(kind, body, arrays, fast=fast))


def decode_frame(content: bytes | bytearray | memoryview, limits: Limits = DEFAULT_LIMITS) -> Frame:
    """Read a frame that is there as a whole.

    Args:
        content: Its bytes.
        limits: What is allowed.

    Raises:
        ProtocolError: If it breaks a rule, or is cut off, or followed by more.
        TooLargeError: If it announces more than the limits allow.
    """
    view = memoryview(content)
    if len(view) < PREAMBLE.size:
        _refuse(f"a frame of at least {PREAMBLE.size} bytes", str(len(view)))
    preamble = Preamble.of(view, limits)
    if len(view) != PREAMBLE.size + preamble.header_bytes + preamble.array_bytes:
        _refuse(f"{preamble.header_bytes} and {preamble.array_bytes} bytes", str(len(view) - PREAMBLE.size))
    start = PREAMBLE.size + preamble.header_bytes
    header = from_plain(_Header, decode_json(bytes(view[PREAMBLE.size : start]), limits))
    if len(header.arrays) > limits.arrays:
        _refuse(f"at most {limits.arrays} arrays", str(len(header.arrays)))
    packed = dict(_cut(header.arrays, view[start:], limits))
    if len(packed) != len(header.arrays):
        _refuse("arrays of different names", ", ".join(array.name[:40] for array in header.arrays))
    return Frame(kind=preamble.kind, body=header.body, packed=packed)


def decode_json(content: bytes, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
    """Read a JSON object from a body or a frame's header.

    Raises:
        ProtocolError: If it is no JSON, nested too deeply, or no object.
        TooLargeError: If it is too long.
    """
    if len(content) > limits.header_bytes:
        _too_large(f"JSON of at most {limits.header_bytes} bytes", str(len(content)))
    try:
        document = json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except (RecursionError, ValueError) as error:
        msg = "Expected JSON in UTF-8, found something else. Both ends must speak the same protocol."
        raise ProtocolError(msg) from error
    if not isinstance(document, dict):
        _refuse("a JSON object", type(document).__name__)
    return document


def _cut(
    headers: tuple[ArrayHeader, ...], content: memoryview, limits: Limits
) -> Iterator[tuple[str, tuple[ArrayHeader, memoryview]]]:
    start = 0
    for header in headers:
        header.check(limits)
        if start + header.size > len(content):
            _refuse(f"{header.size} bytes of an array", str(len(content) - start))
        yield header.name, (header, content[start : start + header.size])
        start += header.size
    if start != len(content):
        _refuse(f"{start} bytes of arrays", str(len(content)))


def _no_constant(name: str) -> NoReturn:
    _refuse("finite numbers", name)


def _refuse(expected: str, found: str) -> NoReturn:
    msg = f"Expected {expected}, found {found}. Both ends must speak the same protocol."
    raise ProtocolError(msg)


def _too_large(expected: str, found: str) -> NoReturn:
    msg = f"Expected {expected}, found {found}. Send less."
    raise TooLargeError(msg)
