"""What a step of T3D costs: operations of its forward passes, counted on shapes alone."""

from __future__ import annotations

import torch

from colipri_core.model.text import TextEncoder
from colipri_training.data.batch import Text
from colipri_training.operations import count
from colipri_training.t3d.batch import T3DBatch
from colipri_training.t3d.config import T3DConfig
from colipri_training.t3d.network import T3DNetwork


class _WithoutTextEncoder(T3DNetwork):
    """A network whose token states are there already: the text encoder is counted by itself."""

    def states(self, text: Text, count: int) -> Text:
        if self.text_encoder is None:
            return super().states(text, count)
        ids, mask = text
        return torch.zeros(*ids.shape, self.config.text.hidden, device=ids.device), mask


def forward_cost(config: T3DConfig) -> tuple[int, int, int]:
    """Operations of the forward passes of one step over the global batch.

    Args:
        config: The run.

    Returns:
        Of encoding sub-volumes and telling them the report; of encoding texts, each as long as the config allows (an
        upper bound); and of restoring sub-volumes.
    """
    with torch.device("meta"):
        network = _WithoutTextEncoder(config).eval().requires_grad_(False)
        batch = _batch(config)
    restoration = 0
    if network.decoder is not None:
        text = network.states(batch.reports, len(batch.images))
        restoration = count(lambda: network.restoration_errors(batch, text))
    everything = count(lambda: network(batch))
    return everything - restoration, 0 if network.text_encoder is None else _text(config), restoration


def _batch(config: T3DConfig) -> T3DBatch:
    data, scans = config.data, config.data.batch_size
    views = config.sub_volumes.views.count
    return T3DBatch(
        images=torch.empty(scans, views, *data.crop),
        centres=torch.zeros(scans, views, 3),
        corrupted=torch.empty(scans, *data.crop) if config.loss.restoration else None,
        reports=_words(scans, data.max_report_length),
        sentences=_words(scans, data.sentences, data.max_sentence_length) if config.loss.consistency else None,
        groups=torch.zeros(scans, dtype=torch.int64),
    )


def _words(*shape: int) -> Text:
    return torch.zeros(shape, dtype=torch.int64), torch.ones(shape, dtype=torch.int64)


def _text(config: T3DConfig) -> int:
    data = config.data
    with torch.device("meta"):
        backbone = TextEncoder(config.text, pooler_heads=config.text.heads).backbone.eval()

    def cost(length: int) -> int:
        ids = torch.zeros(1, length, dtype=torch.int64, device="meta")
        return count(lambda: backbone(ids))

    sentences = data.sentences * cost(data.max_sentence_length) if config.loss.consistency else 0
    return data.batch_size * (cost(data.max_report_length) + sentences)
