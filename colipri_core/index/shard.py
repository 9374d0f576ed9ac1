"""Which part of the work belongs to this process, when several share it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """One of several equal parts of a list.

    Args:
        index: Which part, from 0.
        count: How many parts there are.

    Raises:
        ValueError: If there is no such part.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            msg = f"Expected a rank from 0 to the number of processes less one, got rank {self.index} of {self.count}."
            raise ValueError(msg)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Shard:
        """Read RANK and WORLD_SIZE, which torchrun and most schedulers set; the whole without them.

        Args:
            environment: Variables of the process.

        Raises:
            ValueError: If they are no numbers, or do not fit each other.
        """
        return cls(index=int(environment.get("RANK", "0")), count=int(environment.get("WORLD_SIZE", "1")))

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the part; every process must be given the same list."""
        return items[self.index :: self.count]
