"""Identity: what a training and the checkpoint it goes on from must share, and in which fields they differ."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection
from collections.abc import Mapping
from typing import Any

from torch import nn

_MOST = 6
"""Differences that a message names (our choice)."""

_LONGEST = 40
"""Letters of a value that a message shows; a hash is told by a few (our choice)."""


def plain(config: Any, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of a dataclass as JSON has them.

    Args:
        config: The dataclass.
        without: Fields that may change on the way.
    """
    document = {name: value for name, value in dataclasses.asdict(config).items() if name not in without}
    values: dict[str, Any] = json.loads(json.dumps(document))
    return values


def differences(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return in which fields two JSON objects differ, such as "optimizer.steps: 2, now 4"; empty if in none."""
    before, now = _flat(saved), _flat(wanted)
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    told = [f"{name}: {_short(before.get(name))}, now {_short(now.get(name))}" for name in names[:_MOST]]
    return "; ".join(told) + (f"; and {len(names) - _MOST} more" if len(names) > _MOST else "")


def weights_sha256(module: nn.Module) -> str:
    """SHA-256 over names and values of all tensors of a module."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _flat(document: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in document.items():
        inner = isinstance(value, Mapping)
        found |= _flat(value, f"{where}{name}.") if inner else {f"{where}{name}": value}
    return found


def _short(value: Any) -> str:
    text = "none" if value is None else json.dumps(value).strip('"')
    return text if len(text) <= _LONGEST else f"{text[:12]}..."
