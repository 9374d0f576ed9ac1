"""Which network a config trains."""

from __future__ import annotations

from colipri_training.config import PretrainConfig
from colipri_training.config import RunConfig
from colipri_training.network import PretrainNetwork
from colipri_training.t3d.config import T3DConfig
from colipri_training.t3d.network import T3DNetwork

AnyNetwork = PretrainNetwork | T3DNetwork
"""What a `Trainer` trains: batches to outputs, with its objectives, a temperature, and what is shipped of it."""


def network_of(config: RunConfig) -> AnyNetwork:
    """Make the network of a run with fresh weights.

    Raises:
        TypeError: If there is no network for such a config.
        ValueError: If an objective has a weight but its decoder has no sizes.
    """
    match config:
        case PretrainConfig():
            return PretrainNetwork(config)
        case T3DConfig():
            return T3DNetwork(config)
    msg = f"expected the config of a pretraining, got {type(config).__name__}"
    raise TypeError(msg)
