"""Outputs: what a network makes of a batch, as tensors with names, to be cut, joined and differentiated by part."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar
from typing import Self

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Outputs:
    """Base of a network's outputs; every field is a tensor with the volumes along its first axis, or None.

    Attributes:
        of_no_volume: Names of the fields whose first axis is another.
    """

    of_no_volume: ClassVar[tuple[str, ...]] = ()

    def values(self) -> dict[str, Tensor]:
        """The tensors that are there, by name."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    def leaf(self) -> Self:
        """The same values as the start of a new graph."""
        return type(self)(**{name: value.detach().requires_grad_() for name, value in self.values().items()})

    def detached(self) -> Self:
        """The same values without their graph."""
        return type(self)(**{name: value.detach() for name, value in self.values().items()})

    def gradients(self, parts: int) -> list[dict[str, Tensor]]:
        """After a backward pass to a `leaf` of joined parts: the gradients at the values of each part.

        Args:
            parts: Into how many the batch was cut by its `part`.
        """
        found = {name: value.grad for name, value in self.values().items() if value.grad is not None}
        pieces = [
            {name: grad.tensor_split(parts)[index] for name, grad in found.items() if name not in self.of_no_volume}
            for index in range(parts)
        ]
        pieces[-1] |= {name: grad for name, grad in found.items() if name in self.of_no_volume}
        return pieces


def join(parts: Sequence[Outputs]) -> Outputs:
    """Put the parts of a batch together again; what belongs to no volume is the last part's."""
    kind = type(parts[-1])
    values = {
        name: value if name in kind.of_no_volume else torch.cat([part.values()[name] for part in parts])
        for name, value in parts[-1].values().items()
    }
    return kind(**values)
