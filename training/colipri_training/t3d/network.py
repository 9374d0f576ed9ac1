"""T3DNetwork: the encoders, and all that T3D trains around them, as one module.

One forward pass makes all that the objectives of the run need, negatives of other processes included, so that
DistributedDataParallel can wrap it. Naming: B scans of this process, J of all, V sub-volumes, P ordered pairs of them,
N deepest features of a sub-volume, C their channels, L word pieces, H channels of the text, E of contrasted vectors.
"""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from typing import Self

import torch
import torch.nn.functional as F
from einops import rearrange
from einops import reduce
from torch import Tensor
from torch import nn

from colipri_core.model.dense_encoder import AnyEncoder
from colipri_core.model.dense_encoder import build_encoder
from colipri_core.model.text import TextEncoder
from colipri_training.data.batch import Text
from colipri_training.distributed import World
from colipri_training.distributed import gather_rows
from colipri_training.network import learned_scale
from colipri_training.network import scale_of
from colipri_training.objectives.cached import Weighted
from colipri_training.objectives.contrastive import own_places
from colipri_training.objectives.text_informed import TextInformedContrast
from colipri_training.objectives.text_informed import TextInformedRestoration
from colipri_training.objectives.text_informed import ViewConsistency
from colipri_training.t3d.batch import T3DBatch
from colipri_training.t3d.batch import T3DOutputs
from colipri_training.t3d.config import T3DConfig
from colipri_training.t3d.config import T3DLoss
from colipri_training.t3d.decoder import RestorationDecoder
from colipri_training.t3d.fusion import Places
from colipri_training.t3d.fusion import Projection
from colipri_training.t3d.fusion import SentenceGuide
from colipri_training.t3d.fusion import TextFusion

UNCHANGED_WEIGHT = 0.1
"""Weight of voxels that corruption left as they were (our choice)."""


class T3DNetwork(nn.Module):
    """The image encoder, which is shipped, and the text encoder, fusion, projections and decoder around it.

    Args:
        config: The run.
    """

    def __init__(self, config: T3DConfig) -> None:
        super().__init__()
        self.config = config
        self.objectives = objectives_of(config.loss)
        self.encoder: AnyEncoder = build_encoder(config.encoder)
        self.is_frozen = config.optimizer.text_share == 0
        width, text_width = self.encoder.channels[-1], config.text.hidden
        self.text_encoder: nn.Module | None = None
        if config.conditioning == "report":
            self.text_encoder = TextEncoder(config.text, pooler_heads=config.text.heads).backbone
            self.text_encoder.requires_grad_(not self.is_frozen)
        else:
            self.null = nn.Parameter(torch.zeros(1, 1, text_width))
            nn.init.trunc_normal_(self.null, std=0.02)
        needs_fusion = config.loss.contrast or config.loss.restoration
        self.fusion = TextFusion(width, text_width, config.fusion) if needs_fusion else None
        self.project = Projection(width, config.fusion.embed_dim) if config.loss.contrast else None
        self.guide = SentenceGuide(width, text_width, config.fusion) if config.loss.consistency else None
        self.decoder: RestorationDecoder | None = None
        self.places = Places(width) if config.loss.restoration and config.fusion.places else None
        if config.loss.restoration:
            self.decoder = RestorationDecoder(self.encoder.channels, self.encoder.strides, config.fusion)
        self.log_scale = learned_scale(config.loss.temperature).requires_grad_(config.contrasts)

    @property
    def model(self) -> T3DNetwork:
        """What validation looks at: all of it, for restoration shows whether the text is used."""
        return self

    def shipped(self, scale: Tensor) -> T3DNetwork:
        """The network with its learned inverse temperature."""
        with torch.no_grad():
            self.log_scale.fill_(float(scale.log()))
        return self

    def train(self, mode: bool = True) -> Self:
        """Switch dropout on or off; a frozen text encoder has none."""
        super().train(mode)
        if self.text_encoder is not None and self.is_frozen:
            self.text_encoder.eval()
        return self

    def draw(self, batch: T3DBatch, *, seed: int, world: World) -> T3DBatch:
        """The batch as it is: everything was drawn when it was read."""
        del seed, world
        return batch

    def unreached(self) -> list[nn.Parameter]:
        """What no objective of the run looks at: nothing, for what none needs is not made."""
        return []

    def forward(self, batch: T3DBatch, *, embeddings_only: bool = False) -> T3DOutputs:
        """Encode a batch or, where scans are not compared, a part of one.

        Args:
            batch: The inputs.
            embeddings_only: Leave restoration out and put zeros in its place; see `objectives.cached`.
        """
        text = self.states(batch.reports, len(batch.images)) if self.fusion is not None else None
        match = found = restoration = None
        if self.config.contrasts:
            features = self._pooled_features(batch.images)
            everyone = gather_rows(features)
            if self.project is not None:
                assert text is not None
                match = self._match(features, everyone, text)
            if self.guide is not None:
                found = self._find(batch, everyone)
        if self.decoder is not None:
            assert text is not None
            restoration = batch.images.new_zeros(len(batch.images))
            restoration = restoration if embeddings_only else self.restoration_errors(batch, text)
        return T3DOutputs(scale=scale_of(self.log_scale), match=match, found=found, restoration=restoration)

    def states(self, text: Text, count: int) -> Text:
        """Token states (B, L, H) of reports and their mask; of the twin, its one learned token for each scan.

        Args:
            text: Ids and mask.
            count: B.
        """
        if self.text_encoder is None:
            return self.null.expand(count, -1, -1), torch.ones(count, 1, dtype=torch.int64, device=self.null.device)
        ids, mask = text
        with torch.no_grad() if self.is_frozen else nullcontext():
            return self.text_encoder(ids, attention_mask=mask).last_hidden_state, mask

    def restore(self, batch: T3DBatch, text: Text) -> Tensor:
        """Restore corrupted sub-volumes.

        Args:
            batch: Has them, and where they lie.
            text: Token states of their reports and the mask, from `states`.

        Returns:
            (B, X, Y, Z) float32.
        """
        assert self.decoder is not None
        assert self.fusion is not None
        assert batch.corrupted is not None
        volumes = rearrange(batch.corrupted, "b x y z -> b 1 x y z")
        *levels, deepest = self.encoder(volumes)
        x, y, z = deepest.shape[2:]
        features = rearrange(deepest, "b c x y z -> b (x y z) c")
        if self.places is not None:
            features = features + self.places(batch.centres[:, 0], (x, y, z))
        told = self.fusion(features, *text)
        levels.append(rearrange(told, "b (x y z) c -> b c x y z", x=x, y=y, z=z))
        restored: Tensor = self.decoder(levels, volumes).float()
        return rearrange(restored, "b 1 x y z -> b x y z")

    def restoration_errors(self, batch: T3DBatch, text: Text) -> Tensor:
        """Weighted mean absolute error of each restored sub-volume, (B,) float32; see `TextInformedRestoration`."""
        assert batch.corrupted is not None
        target = batch.images[:, 0]
        error = (self.restore(batch, text) - target).abs()
        weight = torch.where(batch.corrupted != target, 1.0, UNCHANGED_WEIGHT)
        return reduce(error * weight, "b x y z -> b", "sum") / reduce(weight, "b x y z -> b", "sum")

    def _pooled_features(self, images_BVXYZ: Tensor) -> Tensor:
        """Deepest features of clean sub-volumes, averaged to few: (B, V, N, C)."""
        views, most = images_BVXYZ.shape[1], self.config.fusion.pooled
        deepest = self.encoder(rearrange(images_BVXYZ, "b v x y z -> (b v) 1 x y z"))[-1]
        pooled = F.adaptive_avg_pool3d(deepest, [min(most, size) for size in deepest.shape[2:]])
        return rearrange(pooled, "(b v) c x y z -> b v (x y z) c", v=views)

    def _match(self, features_BVNC: Tensor, everyone_JVNC: Tensor, text: Text) -> Tensor:
        assert self.fusion is not None
        assert self.project is not None
        count, views = features_BVNC.shape[:2]
        if self.config.negatives == "own_report":
            own = rearrange(features_BVNC, "b v n c -> b (v n) c")
            fused = rearrange(self.fusion(own, *text), "b (v n) c -> b v n c", v=views)
            vectors = gather_rows(self.project(reduce(fused, "b v n c -> b v c", "mean")))
            return matches(vectors.expand(count, -1, -1, -1))
        told = rearrange(everyone_JVNC, "j v n c -> 1 (j v n) c").expand(count, -1, -1)
        fused = rearrange(self.fusion(told, *text), "b (j v n) c -> b j v n c", j=len(everyone_JVNC), v=views)
        return matches(self.project(reduce(fused, "b j v n c -> b j v c", "mean")))

    def _find(self, batch: T3DBatch, everyone_JVNC: Tensor) -> Tensor:
        assert self.guide is not None
        assert batch.sentences is not None
        ids, mask = (rearrange(tensor, "b s l -> (b s) l") for tensor in batch.sentences)
        seen = mask | (mask.sum(dim=1, keepdim=True) == 0)  # padding attends to itself, and counts for nothing
        states, _ = self.states((ids, seen.to(mask.dtype)), len(ids))
        weight = rearrange(seen, "t l -> t l 1").to(states.dtype)
        vectors = (states * weight).sum(dim=1) / weight.sum(dim=1)
        found = self.guide(rearrange(vectors, "(b s) h -> b s h", b=len(batch.images)), everyone_JVNC)
        sentences = found.shape[1]
        return torch.stack([matches(found[:, place]) for place in range(sentences)], dim=1)


def matches(vectors_BJVE: Tensor) -> Tensor:
    """Cosine of each own sub-volume with the other sub-volumes of every scan, (B, P, J).

    Args:
        vectors_BJVE: Unit vectors of the sub-volumes of all scans, as told what each of this process's scans is told.
    """
    count, _, views, _ = vectors_BJVE.shape
    rows = torch.arange(count, device=vectors_BJVE.device)
    own_BVE = vectors_BJVE[rows, own_places(count, vectors_BJVE.device)]
    pairs = itertools.permutations(range(views), 2)
    return torch.stack(
        [torch.einsum("be,bje->bj", own_BVE[:, a], vectors_BJVE[:, :, b]) for a, b in pairs],
        dim=1,
    )


def objectives_of(loss: T3DLoss) -> Weighted:
    """The objectives that have a weight, with their weights."""
    return [
        (weight, objective)
        for weight, objective in (
            (loss.contrast, TextInformedContrast()),
            (loss.restoration, TextInformedRestoration()),
            (loss.consistency, ViewConsistency()),
        )
        if weight
    ]
