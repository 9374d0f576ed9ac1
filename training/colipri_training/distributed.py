"""Several processes as one: who there is, and the few collectives that objectives and trainer need.

Every process runs the same step on its own part of one global batch. An objective that is a mean over the batch is a
sum over all processes divided by a count over all of them; the mean of each process's mean is something else as soon
as the counts differ. `global_mean` therefore returns (processes * own sum / global count): its mean over the processes
is the global mean, and so is the mean of its gradients, which is what DistributedDataParallel takes.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class World:
    """The processes of a run.

    Args:
        device: Where this process computes.
        rank: This process, from 0.
        size: How many there are.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and logs."""
        return self.rank == 0


def best_device() -> torch.device:
    """The GPU of this process if there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def device_of(wanted: str) -> torch.device:
    """The device of a name, after something small was put there; "auto" is the GPU if there is one, else the CPU.

    Raises:
        ValueError: If torch knows no such device, or it cannot be used on this machine.
    """
    if wanted == "auto":
        return best_device()
    try:
        device = torch.device(wanted)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
        msg = f'Device "{wanted}" cannot be used here: {reason}. Use "auto", or "cpu".'
        raise ValueError(msg) from error
    return device


def world(device: torch.device | None = None) -> World:
    """The processes as they are now; one if no process group was started."""
    place = device or best_device()
    if not dist.is_initialized():
        return World(device=place)
    return World(rank=dist.get_rank(), size=dist.get_world_size(), device=place)


@contextmanager
def processes(device: torch.device | None = None) -> Iterator[World]:
    """Join the other processes that `torchrun` started; alone where it did not start this one.

    Args:
        device: Where to compute; None takes the GPU of this process if there is one.
    """
    place = device or best_device()
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World(device=place)
        return
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield world(place)
    finally:
        dist.destroy_process_group()


def gather_rows(rows: Tensor) -> Tensor:
    """Stack the rows of all processes, this one's included; gradients flow back to where the rows came from.

    Args:
        rows: (B, ...), as many in every process.

    Returns:
        (processes * B, ...), in the order of the processes.
    """
    if not _several():
        return rows
    gathered: Tensor = _GatherRows.apply(rows)
    return gathered


def global_mean(total: Tensor, count: Tensor | int) -> Tensor:
    """This process's share of a mean over the global batch, times the number of processes.

    Args:
        total: Sum over this process's part, with gradient.
        count: What the sum was over, or its weight.

    Returns:
        A scalar; its mean over the processes is the sum of all totals over the sum of all counts (at least 1).
    """
    number = torch.as_tensor(count, dtype=torch.float32, device=total.device).detach().clone()
    if not _several():
        return total / number.clamp(min=1)
    dist.all_reduce(number)
    return total * dist.get_world_size() / number.clamp(min=1)


def mean_over_processes(values: Tensor) -> Tensor:
    """Mean over the processes, without gradient."""
    if not _several():
        return values
    values = values.detach().clone()
    dist.all_reduce(values)
    return values / dist.get_world_size()


def send_from_first(tensors: list[Tensor]) -> None:
    """Give all processes the first one's values, in place."""
    if _several():
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def wait_for_all() -> None:
    """Return once every process has come here."""
    if _several():
        dist.barrier()


def _several() -> bool:
    return dist.is_initialized() and dist.get_world_size() > 1


class _GatherRows(torch.autograd.Function):
    """all_gather whose backward sums what every process asks of the rows, and keeps the own ones."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].contiguous().clone()
        dist.all_reduce(summed)
        return summed[dist.get_rank() * ctx.count :][: ctx.count]
