"""Reading and checking weight files: safetensors only, hashes verified, every key accounted for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch import nn

from colipri_core.errors import BundleError
from colipri_core.errors import UnsafeCheckpointError

IGNORED_KEYS = frozenset({"text_encoder.backbone.embeddings.position_ids"})
"""A constant that old BERT exports carry; nothing else may be left over."""

_PICKLE_SUFFIXES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}
_PICKLE_STARTS = (b"\x80", b"PK\x03\x04")
_SAFETENSORS_JSON = b"{"  # follows the 8 bytes of the header length, which may begin like a pickle
_CHUNK = 1 << 22
_NAMED = 5
_DTYPES = {"float32": torch.float32, "float16": torch.float16}


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def refuse_pickle(path: Path) -> None:
    """Refuse a file that is, or is named like, a pickle.

    Raises:
        UnsafeCheckpointError: If it is.
    """
    with path.open("rb") as stream:
        start = stream.read(9)
    looks_like_pickle = start.startswith(_PICKLE_STARTS) and start[8:] != _SAFETENSORS_JSON
    if path.suffix.lower() in _PICKLE_SUFFIXES or looks_like_pickle:
        msg = (
            f"Expected weights in safetensors format, got the pickle {path.name}. A pickle can run any code when it "
            "is opened, so it is never read. Convert it with safetensors on a machine that trusts it."
        )
        raise UnsafeCheckpointError(msg)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file to CPU tensors.

    Raises:
        UnsafeCheckpointError: If the file is a pickle.
        BundleError: If the file is missing, truncated or not safetensors.
    """
    if not path.is_file():
        msg = f"Expected the weights file {path}, found none. Export or fetch the model again."
        raise BundleError(msg)
    refuse_pickle(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        msg = f"Expected safetensors weights in {path}, got a damaged file ({error}). Export or fetch it again."
        raise BundleError(msg) from error


def pack(weights: Mapping[str, Tensor], storage: str) -> dict[str, Tensor]:
    """Return weights as they are stored: matrices and kernels in the storage's type, all others as they are.

    Vectors and scalars (biases, norms and their running statistics) stay float32: they take next to no space, and the
    variance of a layer's input can be larger than float16 holds.

    Args:
        weights: Name -> tensor.
        storage: One of `spec.STORAGES`.

    Raises:
        ValueError: If a weight is too large for the type; the message names it.
    """
    packed = {}
    for name, tensor in weights.items():
        kept = tensor.to(_stored(tensor, storage)) if tensor.is_floating_point() else tensor
        if tensor.isfinite().all() and not kept.isfinite().all():
            msg = f"{name} has values that {storage} cannot hold (up to {tensor.abs().max():.3g}); store float32"
            raise ValueError(msg)
        packed[name] = kept
    return packed


def unpack(weights: Mapping[str, Tensor], storage: str, *, source: str) -> dict[str, Tensor]:
    """Return stored weights as they are computed with: floating tensors in float32.

    Args:
        weights: Name -> tensor as read.
        storage: What the spec says they are stored in.
        source: Where they come from, for the message.

    Raises:
        BundleError: If a floating tensor is stored in another type than `pack` gives it; the message names it.
    """
    for name, tensor in weights.items():
        if tensor.is_floating_point() and tensor.dtype != _stored(tensor, storage):
            found = str(tensor.dtype).removeprefix("torch.")
            msg = f"Expected {storage} weights in {source}, found {name} in {found}. Export the model again."
            raise BundleError(msg)
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}


def _stored(tensor: Tensor, storage: str) -> torch.dtype:
    return _DTYPES[storage] if tensor.ndim > 1 else torch.float32


def load_strictly(module: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Copy weights into a module; every key of both must match, in name and shape.

    Args:
        module: Receives the weights.
        weights: Name -> tensor; `IGNORED_KEYS` may be left over.
        source: Where the weights come from, for the message.

    Raises:
        BundleError: Naming missing keys, unexpected keys, or keys of another shape.
    """
    own = module.state_dict()
    given = {name: tensor for name, tensor in weights.items() if name not in IGNORED_KEYS}
    _refuse(source, "missing keys", own.keys() - given.keys())
    _refuse(source, "unexpected keys", given.keys() - own.keys())
    wrong = [n for n, t in own.items() if given[n].shape != t.shape]
    _refuse(source, "keys of another shape", (f"{n} {tuple(given[n].shape)}" for n in wrong))
    module.load_state_dict(given)


def _refuse(source: str, what: str, keys: Iterable[str]) -> None:
    names = sorted(keys)
    if not names:
        return
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    msg = (
        f"The weights in {source} do not fit the architecture in the spec: {what} {', '.join(names[:_NAMED])}{more}. "
        "Export the model again with the spec it was trained with."
    )
    raise BundleError(msg)
