"""One backward pass through all objectives, in one go or in parts that fit the memory with the loss of the whole.

A contrastive loss over a batch is not the mean of the losses over its parts: every volume is compared with every
report. GradCache (Gao et al., 2021) computes it all the same with the activations of one part at a time:

1. encode every part without a graph and keep the embeddings e;
2. compute the losses L on all of them, and dL/de;
3. encode every part again, with a graph, and go backward from sum(e * dL/de), whose gradient is that of L.

What is random in the network must be the same in 1 and 3, so every part is seeded. Losses of single volumes (report,
reconstruction) enter L as sums, so dL/de is known without them, and pass 1 leaves their decoders out.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import nullcontext
from typing import Any
from typing import Protocol
from typing import Self

import torch
from torch import Tensor
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from colipri_training.objectives.outputs import Outputs
from colipri_training.objectives.outputs import join
from colipri_training.seeds import mixed


class Parted(Protocol):
    """A batch that can be cut."""

    def part(self, index: int, parts: int, *, sentences: bool = True) -> Self:
        """Return one of several consecutive parts of the volumes, with or without what belongs to no volume."""
        ...


class Objective(Protocol):
    """A small class with its formula in its docstring."""

    name: str

    def __call__(self, batch: Any, encoded: Any) -> Tensor:
        """Return this process's share of the loss, as `distributed.global_mean` has it."""
        ...


Weighted = Sequence[tuple[float, Objective]]
"""Weights and objectives of a run."""

Autocast = Callable[[], AbstractContextManager[object]]
"""Makes the context that a forward pass runs in."""


def losses_of(objectives: Weighted, batch: Parted, encoded: Outputs) -> dict[str, Tensor]:
    """Weighted losses by the names of the objectives."""
    return {objective.name: weight * objective(batch, encoded) for weight, objective in objectives}


def backward(
    network: nn.Module,
    objectives: Weighted,
    batch: Parted,
    *,
    parts: int = 1,
    seed: int = 0,
    autocast: Autocast = nullcontext,
) -> dict[str, Tensor]:
    """Add the gradient of the weighted sum of the objectives to the network's parameters.

    Args:
        network: From a batch to `Outputs`, as `PretrainNetwork`; plain or wrapped by DistributedDataParallel.
        objectives: Weights and objectives.
        batch: This process's part of the global batch.
        parts: Into how many parts to cut it; 1 is the plain way.
        seed: Decides what is random in the network; of each part something else.
        autocast: Context of the forward passes.

    Returns:
        The weighted losses, detached.
    """
    if parts == 1:
        torch.manual_seed(mixed(seed, 0))
        with autocast():
            encoded = network(batch)
        losses = losses_of(objectives, batch, encoded)
        torch.stack(list(losses.values())).sum().backward()
        return {name: value.detach() for name, value in losses.items()}
    pieces = [batch.part(index, parts, sentences=index == parts - 1) for index in range(parts)]
    gradients = _at_embeddings(network, objectives, batch, pieces, seed=seed, autocast=autocast)
    seen = []
    for index, (piece, gradient) in enumerate(zip(pieces, gradients, strict=True)):
        with _synchronised(network, now=index == parts - 1):
            torch.manual_seed(mixed(seed, index))
            with autocast():
                encoded = network(piece)
            values = encoded.values()
            torch.autograd.backward([values[name] for name in gradient], list(gradient.values()))
        seen.append(encoded.detached())
    with torch.no_grad():
        return losses_of(objectives, batch, join(seen))


def _at_embeddings(
    network: nn.Module,
    objectives: Weighted,
    batch: Parted,
    pieces: Sequence[Parted],
    *,
    seed: int,
    autocast: Autocast,
) -> list[dict[str, Tensor]]:
    """Gradient of the whole loss at the embeddings of every part."""
    inner = network.module if isinstance(network, DistributedDataParallel) else network
    first = []
    for index, piece in enumerate(pieces):
        torch.manual_seed(mixed(seed, index))
        with torch.no_grad(), autocast():
            first.append(inner(piece, embeddings_only=True))
    joined = join(first).leaf()
    torch.stack(list(losses_of(objectives, batch, joined).values())).sum().backward()
    return joined.gradients(len(pieces))


def _synchronised(network: nn.Module, *, now: bool) -> AbstractContextManager[object]:
    """Processes exchange gradients once a step: in the backward pass of the last part."""
    if isinstance(network, FSDPModule):
        network.set_requires_gradient_sync(now)
    if isinstance(network, DistributedDataParallel) and not now:
        return network.no_sync()
    return nullcontext()
