"""Batch: what one optimiser step sees, and how it is cut into parts for processes and for memory."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

Text = tuple[Tensor, Tensor]
"""Word-piece ids and mask (1 at pieces, 0 at padding), both (T, L) int64."""

_SHARED = ("affirming", "denying")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Masked:
    """Volumes to reconstruct. R volumes, V visible tokens.

    Args:
        images: (R, 1, X, Y, Z), values in [-1, 1].
        visible: (R, V) indices of the tokens that the encoder sees.
    """

    images: Tensor
    visible: Tensor


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Inputs of one step.

    B volumes, N tokens of a volume, K kept tokens, F findings, P sentence pairs a finding, S statements of a volume.

    Args:
        images: (B, 1, X, Y, Z), values in [-1, 1].
        keep: (B, K) indices of the encoded tokens.
        findings: (B, F) 1 where a kept token shows the finding, 0 where the volume lacks it, -1 where only tokens that
            were dropped show it, or nobody knows.
        regions: (B, F, K) 1 where a kept token shows the finding, 0 where not, -1 where it can hardly be told.
        reports: One report a volume, as the text encoder reads it.
        affirming: P*F affirming sentences, finding by finding within a pair set; None in a part that another part's
            sentences serve, and where reports are not generated.
        denying: Their opposites, in the same order.
        targets: One report a volume, as the report decoder is to write it.
        unpaired: (U, 1, X, Y, Z) volumes without report, which only reconstruction sees.
        statements: Sentences of reports and their opposites, S of the one and then S of the other for each volume:
            ids and mask (B, 2S, L).
        holds: (B, S) int8, 1 where the sentence is true of the volume, 0 where its opposite is, -1 for padding.
        groups: (B,) int64; volumes of the same number (one study, or one text) are not each other's negatives.
        masked: What is reconstructed; the trainer draws it.
    """

    images: Tensor
    keep: Tensor
    findings: Tensor
    regions: Tensor
    reports: Text
    affirming: Text | None
    denying: Text | None
    targets: Text | None = None
    unpaired: Tensor | None = None
    statements: Text | None = None
    holds: Tensor | None = None
    groups: Tensor | None = None
    masked: Masked | None = None

    def part(self, index: int, parts: int, *, sentences: bool = True) -> Batch:
        """Return one of several consecutive parts of the volumes.

        Args:
            index: Which part, from 0.
            parts: How many there are; they are as even as can be.
            sentences: Whether the part has the sentence pairs, which belong to no volume.
        """
        own = {
            field.name: _cut(getattr(self, field.name), index, parts)
            for field in dataclasses.fields(self)
            if field.name not in _SHARED
        }
        return Batch(**own, **{name: getattr(self, name) if sentences else None for name in _SHARED})

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        values = {field.name: _move(getattr(self, field.name), device) for field in dataclasses.fields(self)}
        return Batch(**values)


def _cut(value: Any, index: int, parts: int) -> Any:
    match value:
        case None:
            return None
        case Masked():
            return Masked(images=_cut(value.images, index, parts), visible=_cut(value.visible, index, parts))
        case tuple():
            return tuple(_cut(tensor, index, parts) for tensor in value)
    return value.tensor_split(parts)[index]


def _move(value: Any, device: torch.device) -> Any:
    match value:
        case None:
            return None
        case Masked():
            return Masked(images=_move(value.images, device), visible=_move(value.visible, device))
        case tuple():
            return tuple(_move(tensor, device) for tensor in value)
    return value.to(device, non_blocking=True)
