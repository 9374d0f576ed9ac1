"""ReportGeneration: the report decoder must foretell every next word piece of the report."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from colipri_core.model.report_decoder import ReportDecoder
from colipri_training.data.batch import Batch
from colipri_training.data.batch import Text
from colipri_training.distributed import global_mean
from colipri_training.objectives.encoded import Encoded


class ReportGeneration:
    """Causal language modelling given the volume's patch tokens, with teacher forcing.

    With y_i the word pieces of report i after [CLS], [SEP] included and padding left out, |y_i| of them:
    L = - sum_i sum_t log p(y_it | y_i1 .. y_i(t-1), tokens of volume i) / sum_i |y_i|.
    The mean over word pieces rather than over reports is our choice: a long report teaches more than a short one.
    """

    name = "report"

    def __call__(self, batch: Batch, encoded: Encoded) -> Tensor:
        """Return the loss in nats a word piece, a scalar."""
        assert batch.targets is not None
        assert encoded.writing is not None
        return global_mean(encoded.writing.sum(), batch.targets[1][:, 1:].sum())


def writing_losses(decoder: ReportDecoder, memory_BMW: Tensor, targets: Text) -> Tensor:
    """Negative log-likelihood of each report, summed over its word pieces: (B,) float32.

    Args:
        decoder: The decoder.
        memory_BMW: What it looks at, from `ReportDecoder.memory`.
        targets: Ids from [CLS] to [SEP], and their mask.
    """
    ids_BL, mask_BL = targets
    logits_BLV = decoder(ids_BL[:, :-1], memory_BMW).float()
    losses = F.cross_entropy(rearrange(logits_BLV, "b l v -> b v l"), ids_BL[:, 1:], reduction="none")
    return (losses * mask_BL[:, 1:]).sum(dim=1)
