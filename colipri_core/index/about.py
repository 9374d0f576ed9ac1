"""What a store says of itself: its format, the model its vectors belong to, and which of its tables are in use.

It is the one row of the table `about`, replaced in one commit. The tables of cases carry a generation in their name:
encoding all cases again fills the tables of the next generation, and then this row names them, so that a store is
never half of one model and half of another.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from colipri_core.errors import StoreError
from colipri_core.errors import StoreModelError
from colipri_core.provenance import ModelCard

FORMAT = 1
"""Version of what is stored; raised when an older program could no longer read it right."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class About:
    """The row.

    Args:
        format: Version of the store's format.
        generation: Number in the names of the tables in use.
        dimension: Length of the vectors; 0 before the first case.
        card: The model of the vectors; None before the first case.
    """

    format: int = FORMAT
    generation: int = 1
    dimension: int = 0
    card: ModelCard | None = None

    def to_row(self) -> dict[str, Any]:
        """Return the row as plain values."""
        card = dataclasses.asdict(self.card) if self.card is not None else None
        return {**dataclasses.asdict(self), "card": json.dumps(card)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any], address: str) -> About:
        """Read the row.

        Args:
            row: As `to_row` wrote it, by this program or a newer one.
            address: The store, for messages.

        Raises:
            StoreError: If the format is newer than this program, or the row is damaged.
        """
        found = row.get("format")
        if isinstance(found, int) and found > FORMAT:
            msg = (
                f'Expected a case store of format {FORMAT} or older at "{address}", found format {found}. '
                "It was written by a newer version: update napari-colipri. Nothing was changed."
            )
            raise StoreError(msg)
        try:
            card = json.loads(row["card"])
            fields = {name: int(row[name]) for name in ("format", "generation", "dimension")}
            return cls(**fields, card=ModelCard(**card) if card is not None else None)
        except (KeyError, TypeError, ValueError) as error:
            msg = (
                f'Expected a case store at "{address}", found one whose description is damaged ({error}). '
                "Restore it from a copy, or add the cases to a new store."
            )
            raise StoreError(msg) from error

    def check_model(self, card: ModelCard, address: str) -> None:
        """Refuse vectors of another model.

        Args:
            card: The model of the vectors at hand.
            address: The store, for messages.

        Raises:
            StoreModelError: If the weights differ.
        """
        if self.card is not None and card.sha256 != self.card.sha256:
            msg = (
                f'The store "{address}" holds vectors of the weights {self.card.sha256} ("{self.card.name}"), '
                f'but these are of {card.sha256} ("{card.name}"); the two cannot be compared. '
                "Use the model of the store, or encode all its cases again: colipri index rebuild STORE --model MODEL."
            )
            raise StoreModelError(msg, stored=self.card.sha256, given=card.sha256)
