"""DistinctFindings: every finding must have a direction of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from colipri_training.data.batch import Batch
from colipri_training.objectives.encoded import Encoded


class DistinctFindings:
    """The directions from the denial to the affirmation of two findings must not lie along each other.

    With d_f the unit vector along the difference of the two sides of finding f, what zero-shot classification projects
    on: L = mean over pairs f != g of (d_f.d_g)^2. While the images do not tell two findings apart yet, nothing else
    keeps the text side from asking the same of both, and then no image can tell them apart any more. Not part of the
    published system, whose text encoder is large and pretrained: our choice.
    """

    name = "distinct"

    def __call__(self, batch: Batch, encoded: Encoded) -> Tensor:
        """Return the loss, a scalar; it is the same for every part of a batch."""
        del batch
        assert encoded.affirming is not None
        assert encoded.denying is not None
        directions = F.normalize((encoded.affirming - encoded.denying).mean(dim=0), dim=-1)
        cosines = directions @ directions.T
        others = ~torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)
        return cosines[others].square().mean()
