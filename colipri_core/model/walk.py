"""How likely a walk from a place comes home: a random walk that edges hold back, on a grid of intensities.

Every cell gets the chance that a walker who starts there reaches a positive place before a negative one, or before it
is lost; it steps to a neighbour the sooner, the more alike the two are. This is the random walker (Grady, 2006) with a
small chance to be lost in each step in place of seeds of the background, which a single click does not give. Unlike a
flood it is not let through by a leak of a cell, and it follows slow changes of intensity. Figures are our choice.

Naming: B batch, S walkers, XYZ cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LOST = 1e-3
"""Chance to be lost beside a step to an alike neighbour: a walk reaches some thirty cells of one intensity."""

STEPS = 50
"""Of conjugate gradients: more than the cells of a way across the grid."""

_TINY = 1e-30


@torch.no_grad()
def homecoming(hu_BXYZ: Tensor, positive_BXYZ: Tensor, negative_BXYZ: Tensor, scales_hu: Sequence[float]) -> Tensor:
    """Return the chance to come home (B, S, X, Y, Z), in [0, 1]; 0 everywhere without a positive place.

    Args:
        hu_BXYZ: Intensities in HU, float32.
        positive_BXYZ: bool, where every walker is at home.
        negative_BXYZ: bool, where it is lost.
        scales_hu: Of each walker (S), the difference in HU between neighbours that makes a step four times as rare.
    """
    scales = hu_BXYZ.new_tensor(scales_hu)[:, None, None, None]
    steps = [(1 + (hu_BXYZ.diff(dim=axis)[:, None] / scales).square()).square().reciprocal() for axis in (1, 2, 3)]
    out = torch.full_like(hu_BXYZ[:, None].expand(-1, len(scales_hu), -1, -1, -1), LOST)
    for axis, step in enumerate(steps, start=2):
        _add(out, step, step, axis)
    free = ~(positive_BXYZ | negative_BXYZ)[:, None]
    home = (positive_BXYZ & ~negative_BXYZ)[:, None].to(out.dtype).expand_as(out)

    def residual(x: Tensor) -> Tensor:
        y = -out * x
        for axis, step in enumerate(steps, start=2):
            length = step.shape[axis]
            _add(y, step * x.narrow(axis, 1, length), step * x.narrow(axis, 0, length), axis)
        return y * free

    x, r = home.clone(), residual(home)
    z = r / out
    p, rz = z.clone(), _dot(r, z)
    for _ in range(STEPS):
        pull = -residual(p)
        rate = rz / _dot(p, pull).clamp(min=_TINY)
        x += rate * p
        r -= rate * pull
        z = r / out
        before, rz = rz, _dot(r, z)
        p = z + (rz / before.clamp(min=_TINY)) * p
    return x.clamp_(0, 1)


def _add(to: Tensor, first: Tensor, second: Tensor, axis: int) -> None:
    """Add what comes from the upper neighbours to all cells but the last along an axis, and the other way round."""
    length = first.shape[axis]
    to.narrow(axis, 0, length).add_(first)
    to.narrow(axis, 1, length).add_(second)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(2, 3, 4), keepdim=True)
