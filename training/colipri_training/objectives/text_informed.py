"""The objectives of T3D: contrast, restoration and consistency of sub-volumes, all informed by the report.

The abstract of arXiv 2312.01529 names the first two, that of its third version the last; formulas, weights and
corruptions are not published, so these are ours. No report is ever matched with a sub-volume, which need not show what
it says: the report only tells what to look for.
"""

from __future__ import annotations

import torch.nn.functional as F
from einops import repeat
from torch import Tensor

from colipri_training.distributed import global_mean
from colipri_training.objectives.contrastive import excluded_pairs
from colipri_training.objectives.contrastive import own_places
from colipri_training.t3d.batch import T3DBatch
from colipri_training.t3d.batch import T3DOutputs


class TextInformedContrast:
    """A sub-volume must find the other sub-volume of its scan among those of all scans, given its report.

    With z_j^v(r) the unit vector of sub-volume v of scan j after attending to report r, s the learned inverse
    temperature, and ordered pairs of sub-volumes a != b:
    L = mean over scans i and pairs (a, b) of -log softmax_j(s z_i^a(r_i).z_j^b(r))[i],
    which is symmetric, for (b, a) is a pair too. Negatives come from all processes, with gradient; scans of the same
    group are none. r is r_i ("same_report"), so that the report tells no scan from another, or r_j ("own_report").
    """

    name = "contrast"

    def __call__(self, batch: T3DBatch, outputs: T3DOutputs) -> Tensor:
        """Return the loss, a scalar."""
        assert outputs.match is not None
        own = own_places(len(outputs.match), outputs.match.device)
        excluded = excluded_pairs(batch.groups, own)
        pairs = outputs.match.shape[1]
        losses = [
            F.cross_entropy(outputs.scale * outputs.match[:, pair] + excluded, own, reduction="sum")
            for pair in range(pairs)
        ]
        return global_mean(sum(losses[1:], losses[0]) / pairs, len(own))


class TextInformedRestoration:
    """A corrupted sub-volume must be restored by a decoder whose deepest features have attended to the report.

    With x the sub-volume, x~ what corruption made of it, x^ what is restored, and w = 1 where x~ differs from x, 0.1
    elsewhere: L = mean over scans of sum w |x^ - x| / sum w.
    """

    name = "restoration"

    def __call__(self, batch: T3DBatch, outputs: T3DOutputs) -> Tensor:
        """Return the loss, a scalar."""
        del batch
        assert outputs.restoration is not None
        return global_mean(outputs.restoration.sum(), len(outputs.restoration))


class ViewConsistency:
    """What a sentence of the report finds in one sub-volume of its scan, it must find in the others.

    With u_j^v(q) the unit vector that sentence q gathers by attention from sub-volume v of scan j (`SentenceGuide`):
    L = mean over sentences q of scans i, and pairs a != b, of -log softmax_j(s u_i^a(q).u_j^b(q))[i].
    All scans are asked the same sentence, so that the words tell none from another. After the multi-view alignment of
    the later T3D, whose formula we could not read.
    """

    name = "consistency"

    def __call__(self, batch: T3DBatch, outputs: T3DOutputs) -> Tensor:
        """Return the loss, a scalar."""
        assert outputs.found is not None
        assert batch.sentences is not None
        count, sentences, pairs, _ = outputs.found.shape
        own = own_places(count, outputs.found.device)
        logits = outputs.scale * outputs.found
        excluded = excluded_pairs(batch.groups, own)
        if isinstance(excluded, Tensor):
            logits = logits + excluded[:, None, None]
        targets = repeat(own, "b -> b s p", s=sentences, p=pairs)
        losses = F.cross_entropy(logits.movedim(-1, 1), targets, reduction="none").mean(dim=2)
        asked = batch.sentences[1].any(dim=2)
        return global_mean((losses * asked).sum(), asked.sum())
