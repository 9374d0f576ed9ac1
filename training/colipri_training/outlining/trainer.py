"""PhraseTrainer: fits a phrase head to the tokens of a frozen encoder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from colipri_core.model.bundle import Bundle
from colipri_core.model.phrase_head import PhraseHead
from colipri_core.model.phrase_head import PhraseHeadConfig
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_core.vocabulary.wordings import wording
from colipri_training.data import augment
from colipri_training.data.store import CaseStore
from colipri_training.data.store import StoredCase
from colipri_training.evaluation.prompts import prompt_directions
from colipri_training.evaluation.prompts import text_vectors
from colipri_training.evaluation.zero_shot import normalise
from colipri_training.outlining.config import OutliningConfig
from colipri_training.phantom_stage import NewPart
from colipri_training.phantom_stage import PhantomStage
from colipri_training.precision import native_bfloat16

PHRASE_STAGE = "phrases"
FOUND = 0.3
"""Dice from which on a lesion counts as found."""

_SMOOTH = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """A phantom and what is asked of it.

    Args:
        image: (1, X, Y, Z) in [-1, 1].
        directions: (Q, E) of the phrases.
        masks: bool (Q, X, Y, Z), what they name.
    """

    image: Tensor
    directions: Tensor
    masks: Tensor


class PhraseTrainer(PhantomStage):
    """Fits a head.

    Args:
        config: The run.
        bundle: Its encoder and text side are kept as they are.
        store: The phantoms, on the encoder's grid: those to learn from, and those of validation.
        folder: Where the log, the checkpoint and the tokens go.

    Raises:
        ValueError: If the store lacks some of the phantoms.
    """

    def __init__(self, config: OutliningConfig, bundle: Bundle, *, store: CaseStore, folder: Path) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.head = PhraseHead(config.head)
        self._directions: dict[str, Tensor] = {}
        part = NewPart(name="phrase_head", module=self.head, field="phrases", config=config.head.to_json())
        super().__init__(PHRASE_STAGE, config, part, bundle, store=store, folder=folder)
        self.resume()

    def _loss(self, step: int) -> Tensor:
        config = self.config
        rng = np.random.default_rng([config.seed, 11, step])
        seeds = [config.training_seeds[number] for number in rng.integers(0, config.cases, size=config.batch_size)]
        asked = [self._ask(self._store.read(seed), rng) for seed in seeds]
        tokens = self._tokens_of(seeds)
        dense = self._dense(tokens)
        tokens[torch.from_numpy(rng.random(len(seeds)) < config.token_dropout)] = 0.0
        self.head.train()
        with native_bfloat16():
            vectors = self.head(torch.stack([each.image for each in asked]), tokens)
        logits = self.head.answer(vectors.float(), dense, torch.stack([each.directions for each in asked]))
        return phrase_loss(logits, torch.stack([each.masks for each in asked]))

    def _ask(self, case: StoredCase, rng: np.random.Generator) -> Asked:
        """What is asked of a phantom: lesions it has, and one it lacks."""
        held = [finding for finding in range(len(CT_RATE_CONCEPTS)) if ((case.lesions >> finding) & 1).any()]
        lacking = [finding for finding in range(len(CT_RATE_CONCEPTS)) if finding not in case.present]
        strange = [int(rng.choice(lacking))] if lacking else []
        wanted = strange + [int(rng.choice(held or lacking)) for _ in range(self.config.phrases - len(strange))]
        hu = augment.bend(torch.from_numpy(case.hu.astype(np.float32)), rng)
        return Asked(
            image=normalise(dataclasses.replace(case, hu=hu.numpy()), self.bundle.spec.preprocessing)[0],
            directions=torch.stack([self.direction(self._phrase(case, finding, rng)) for finding in wanted]),
            masks=torch.stack([torch.from_numpy((case.lesions >> finding) & 1 > 0) for finding in wanted]),
        )

    def _phrase(self, case: StoredCase, finding: int, rng: np.random.Generator) -> str:
        """A name of a finding, or a sentence of the report that affirms it."""
        said = [sentence.text for sentence in case.sentences if sentence.finding == finding and sentence.positive]
        if said and rng.random() < self.config.sentences:
            return str(rng.choice(said))
        concept = CT_RATE_CONCEPTS[finding]
        return str(rng.choice([concept.name, *concept.terms]))

    def direction(self, text: str) -> Tensor:
        """Direction (E,) of a phrase, as a session asks it."""
        if text not in self._directions:
            asked = wording(text)
            sides = [(list(asked.present), list(asked.absent))]
            self._directions[text] = prompt_directions(sides, lambda texts: text_vectors(self.bundle, texts))[0].clone()
        return self._directions[text]

    def _tokens_of(self, seeds: list[int]) -> Tensor:
        x, y, z = self._grid
        return rearrange(self._tokens.batch(seeds), "b (x y z) c -> b c x y z", x=x, y=y, z=z)

    def _dense(self, tokens_BCxyz: Tensor) -> Tensor:
        """Unit vectors (B, E, x, y, z) of tokens in the joint space."""
        with torch.no_grad():
            return F.normalize(self.bundle.model.dense(tokens_BCxyz), dim=1)

    def score(self, seeds: range) -> dict[str, float]:
        """Share of the focal lesions that are found, and their mean Dice."""
        dice = np.asarray(self.dice(seeds))
        return {"found": float(np.mean(dice >= FOUND)), "dice": float(dice.mean())}

    def dice(self, seeds: range) -> list[float]:
        """Dice of every focal lesion of phantoms that is asked by its name, on the model grid."""
        found: list[float] = []
        self.head.eval()
        for seed in seeds:
            case = self._store.read(seed)
            held = [f for f, concept in enumerate(CT_RATE_CONCEPTS) if concept.focal and (case.lesions >> f & 1).any()]
            if not held:
                continue
            directions = torch.stack([self.direction(CT_RATE_CONCEPTS[finding].name) for finding in held])
            image = normalise(case, self.bundle.spec.preprocessing)
            tokens = self._tokens_of([seed])
            with torch.inference_mode():
                with native_bfloat16():
                    vectors = self.head(image, tokens)
                inside = self.head.answer(vectors.float(), self._dense(tokens), directions[None])[0] > 0
            for finding, mask in zip(held, inside.numpy(), strict=True):
                lesion = (case.lesions >> finding) & 1 > 0
                found.append(float(2 * (mask & lesion).sum() / (mask.sum() + lesion.sum())))
        return found


def head_for(bundle: Bundle) -> PhraseHeadConfig:
    """Sizes of a head for a bundle (our choice).

    Args:
        bundle: The model.
    """
    image = bundle.spec.architecture.image
    return PhraseHeadConfig(
        token_width=image.width, patch_size=image.patch_size, embed_dim=image.embed_dim, channels=16, width=24
    )


def phrase_loss(logits_BQXYZ: Tensor, masks_BQXYZ: Tensor) -> Tensor:
    """Return soft Dice loss plus weighted cross-entropy, means over phrases, a scalar with its gradient.

    As in `objectives.outlines`, a voxel weighs by the inverse square root of the voxels of its side: a lesion is a
    thousandth of a volume. Where a phrase names nothing that is there, Dice has nothing to say (our choice).

    Args:
        logits_BQXYZ: Of each phrase, float32.
        masks_BQXYZ: What it names, bool.
    """
    logits, masks = logits_BQXYZ.flatten(2), masks_BQXYZ.flatten(2).float()
    inside = masks.sum(dim=2, keepdim=True)
    outside = masks.shape[2] - inside
    weight = masks * inside.clamp(min=1).rsqrt() + (1 - masks) * outside.clamp(min=1).rsqrt()
    wrong = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    cross_entropy = (weight * wrong).sum(dim=2) / weight.sum(dim=2)
    given = logits.sigmoid()
    dice = (2 * (given * masks).sum(dim=2) + _SMOOTH) / (given.sum(dim=2) + inside[..., 0] + _SMOOTH)
    return (cross_entropy + (inside[..., 0] > 0) * (1 - dice)).mean()
