"""How a network lies on the processes of a run: replicated (DistributedDataParallel, or alone), or sharded (FSDP2).

Sharding splits weights, gradients and optimiser state among the processes, for models or batches that one GPU cannot
hold beside its activations; at the published size replication is the simpler choice. The result is the same but for
rounding. Checkpoints hold whole states either way, so a run may go on with another number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from typing import Protocol

import torch
from torch import Tensor
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions
from torch.distributed.checkpoint.state_dict import get_model_state_dict
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
from torch.distributed.checkpoint.state_dict import set_model_state_dict
from torch.distributed.checkpoint.state_dict import set_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers.models.bert.modeling_bert import BertLayer

from colipri_core.model.blocks import Block
from colipri_training.distributed import World

_GATHERED_ALONE = (Block, BertLayer)
"""Layers whose weights come together only while they compute; the rest is gathered once a pass."""

State = dict[str, Any]


class Layout(Protocol):
    """Weights and optimiser states as whole values, however they lie; every process must ask and give alike."""

    name: str

    def place(self, network: nn.Module, unreached: Sequence[nn.Parameter] = ()) -> nn.Module:
        """Lay out a network in place and return what to call in its stead.

        Args:
            network: The network.
            unreached: Those of its parameters that never have a gradient, though they might.
        """
        ...

    def weights(self, network: nn.Module) -> State:
        """All weights; the first process has them, the others may get none."""
        ...

    def optimizer_state(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> State:
        """The optimiser's state; the first process has it, the others may get none."""
        ...

    def load_weights(self, network: nn.Module, weights: State) -> None:
        """Load what `weights` gave."""
        ...

    def load_optimizer(self, network: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> None:
        """Load what `optimizer_state` gave."""
        ...


class Replicated:
    """Every process has all of it.

    Args:
        world: The processes.
    """

    name = "replicated"

    def __init__(self, world: World) -> None:
        self._world = world

    def place(self, network: nn.Module, unreached: Sequence[nn.Parameter] = ()) -> nn.Module:
        """See `Layout`; it would wait in vain for a gradient of each parameter that seems to want one."""
        aside = [value for value in unreached if value.requires_grad]
        trained = any(value.requires_grad for value in network.parameters())
        if self._world.size == 1 or not trained:
            return network
        for value in aside:
            value.requires_grad_(False)
        parallel = DistributedDataParallel(network, broadcast_buffers=False)
        for value in aside:
            value.requires_grad_(True)  # optimisers hold them, as those of a single process do
        return parallel

    def weights(self, network: nn.Module) -> State:
        """See `Layout`."""
        return network.state_dict()

    def optimizer_state(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> State:
        """See `Layout`."""
        del network
        return optimizer.state_dict()

    def load_weights(self, network: nn.Module, weights: State) -> None:
        """See `Layout`."""
        network.load_state_dict(weights)

    def load_optimizer(self, network: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> None:
        """See `Layout`."""
        del network
        optimizer.load_state_dict(state)


class Sharded:
    """Every process has a part of every weight.

    Args:
        world: The processes.
    """

    name = "sharded"

    def __init__(self, world: World) -> None:
        self._mesh = init_device_mesh(world.device.type, (world.size,))
        self._options = StateDictOptions(full_state_dict=True, cpu_offload=True)

    def place(self, network: nn.Module, unreached: Sequence[nn.Parameter] = ()) -> nn.Module:
        """See `Layout`; a checkpoint could not be loaded whose optimiser lacks a parameter that seems to want one."""
        for value in unreached:
            value.requires_grad_(False)
        for module in network.modules():
            if isinstance(module, _GATHERED_ALONE):
                fully_shard(module, mesh=self._mesh)
        fully_shard(network, mesh=self._mesh)
        return network

    def weights(self, network: nn.Module) -> State:
        """See `Layout`."""
        return get_model_state_dict(network, options=self._options)

    def optimizer_state(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> State:
        """See `Layout`."""
        return get_optimizer_state_dict(network, optimizer, options=self._options)

    def load_weights(self, network: nn.Module, weights: State) -> None:
        """See `Layout`."""
        set_model_state_dict(network, weights, options=self._options)

    def load_optimizer(self, network: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> None:
        """See `Layout`."""
        set_optimizer_state_dict(network, optimizer, state, options=self._options)


def whole(value: Tensor) -> Tensor:
    """A tensor as it is without sharding; every process must ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value
