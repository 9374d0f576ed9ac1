"""Arrays on the wire: listed types, an order, Blosc2 chunks of bounded size and a CRC; never a pickle.

An array is cut into chunks of `CHUNK_BYTES` (the last one is shorter), each a Blosc2 chunk, which carries its own
lengths in its first 16 bytes. They are compared with what is expected of the chunk before Blosc2 sees it. The CRC-32
covers the bytes as they travel: a damaged body is refused before it is unpacked.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from typing import Any
from typing import Literal

import numpy as np
import numpy.typing as npt

from colipri_core.errors import ProtocolError
from colipri_core.remote.protocol.limits import Limits

Array = npt.NDArray[Any]
Codec = Literal["blosc2", "raw"]

CHUNK_BYTES = 8 << 20
"""Bytes of an array that are packed together (our choice)."""

_INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
DTYPES = {name: np.dtype(name).newbyteorder("<") for name in ("bool", *_INTEGERS, "float16", "float32", "float64")}
"""Types an array may have; little-endian on the wire."""

_RAW_BELOW = 256
_CHUNK_HEADER = 32
_LARGEST_AXIS = 2**40


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayHeader:
    """What the header of a frame says of an array.

    Args:
        name: Its name in the frame.
        dtype: One of `DTYPES`.
        shape: Its shape.
        order: "C" or "F": which axis runs fastest in memory.
        codec: How it is packed.
        size: Bytes as they travel.
        crc: CRC-32 of these.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    codec: Codec
    size: int
    crc: int

    @property
    def unpacked_bytes(self) -> int:
        """Size of the array in memory."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize

    def check(self, limits: Limits) -> None:
        """Refuse what cannot be an array.

        Raises:
            ProtocolError: If the type is not listed, a size is out of bounds, or the sizes do not fit together.
        """
        if self.dtype not in DTYPES:
            _refuse(f"an array of one of the types {', '.join(DTYPES)}", f'"{self.dtype[:40]}"')
        if len(self.shape) > 8 or any(not 0 <= size < _LARGEST_AXIS for size in self.shape):
            _refuse("an array of at most 8 axes of sensible size", f"{list(self.shape)[:9]}")
        if self.unpacked_bytes > limits.array_bytes:
            _refuse(f"an array of at most {limits.array_bytes} bytes", f"{self.unpacked_bytes}")
        if self.size < 0 or (self.codec == "raw" and self.size != self.unpacked_bytes):
            _refuse(f"{self.unpacked_bytes} bytes of a raw array", f"{self.size}")


def pack(name: str, array: Array, *, fast: bool = False) -> tuple[ArrayHeader, list[bytes | memoryview]]:
    """Pack an array.

    Args:
        name: Its name in the frame.
        array: The array, of a listed type.
        fast: Pack with LZ4, for large images; else with Zstandard, which makes masks smaller.

    Returns:
        What the header says of it, and its bytes in parts.

    Raises:
        ValueError: If its type is not listed.
    """
    if array.dtype.name not in DTYPES:
        msg = f"Expected an array of one of the types {', '.join(DTYPES)}, got {array.dtype}."
        raise ValueError(msg)
    dtype = DTYPES[array.dtype.name]
    order: Literal["C", "F"] = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    flat = np.asarray(array, dtype=dtype, order=order).reshape(-1, order="A")
    content = flat.view(np.uint8).data
    raw = content.nbytes <= _RAW_BELOW
    parts: list[bytes | memoryview] = [content] if raw else [*_chunks(content, dtype.itemsize, fast=fast)]
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    header = ArrayHeader(
        name=name,
        dtype=array.dtype.name,
        shape=tuple(array.shape),
        order=order,
        codec="raw" if raw else "blosc2",
        size=sum(len(part) for part in parts),
        crc=crc,
    )
    return header, parts


def unpack(header: ArrayHeader, packed: bytes | memoryview) -> Array:
    """Make an array of its bytes; `header` has been checked against the limits.

    Args:
        header: What was said of it.
        packed: Its bytes as they travelled.

    Raises:
        ProtocolError: If they are not what the header says.
    """
    if len(packed) != header.size or zlib.crc32(packed) != header.crc:
        _refuse(f"{header.size} undamaged bytes of the array {header.name}", "other ones")
    dtype = DTYPES[header.dtype]
    if header.codec == "raw":
        flat = np.frombuffer(packed, dtype=np.uint8).copy()
    else:
        spans = _spans(header, memoryview(packed))
        flat = np.empty(header.unpacked_bytes, dtype=np.uint8)
        _fill(flat, spans)
    if header.dtype == "bool" and flat.size and flat.max() > 1:
        _refuse("truth values of 0 and 1", str(int(flat.max())))
    return flat.view(dtype).reshape(header.shape, order=header.order)


def _chunks(content: memoryview, itemsize: int, *, fast: bool) -> list[bytes]:
    import blosc2

    codec = blosc2.Codec.LZ4 if fast else blosc2.Codec.ZSTD
    options: dict[str, Any] = {"codec": codec, "clevel": 1, "typesize": itemsize, "filters": [blosc2.Filter.SHUFFLE]}
    options["filters_meta"] = [0]
    if content.nbytes < CHUNK_BYTES:
        options["nthreads"] = 1
    starts = range(0, content.nbytes, CHUNK_BYTES)
    packed: list[Any] = [blosc2.compress2(content[start : start + CHUNK_BYTES], **options) for start in starts]
    return packed


def _spans(header: ArrayHeader, packed: memoryview) -> list[memoryview]:
    """The chunks of an array, after their lengths have been found to be what they must be."""
    import blosc2

    spans, start, left = [], 0, header.unpacked_bytes
    while left:
        chunk = packed[start:]
        if len(chunk) < _CHUNK_HEADER:
            _refuse(f"chunks of {left} more bytes", f"{len(chunk)} bytes")
        unpacked, size, _ = blosc2.get_cbuffer_sizes(bytes(chunk[:_CHUNK_HEADER]))
        if unpacked != min(left, CHUNK_BYTES) or not _CHUNK_HEADER <= size <= len(chunk):
            _refuse(f"a chunk of {min(left, CHUNK_BYTES)} bytes", f"{unpacked} in {size}")
        spans.append(chunk[:size])
        start, left = start + size, left - unpacked
    if start != len(packed):
        _refuse(f"{start} bytes of chunks", f"{len(packed)}")
    return spans


def _fill(flat: npt.NDArray[np.uint8], spans: list[memoryview]) -> None:
    import blosc2

    for number, span in enumerate(spans):
        there = flat[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
        try:
            blosc2.decompress2(bytes(span), dst=there)
        except (RuntimeError, TypeError, ValueError) as error:
            msg = f"Expected a Blosc2 chunk, found other bytes ({error}). Send the array again."
            raise ProtocolError(msg) from error


def _refuse(expected: str, found: str) -> None:
    msg = f"Expected {expected}, found {found}. Both ends must speak the same protocol."
    raise ProtocolError(msg)
