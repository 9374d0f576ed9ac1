"""WriterTrainer: fits a report decoder to the tokens of a frozen encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from colipri_core.language.labeller import label_report
from colipri_core.model.bundle import Bundle
from colipri_core.model.report_decoder import ReportDecoder
from colipri_core.model.report_decoder import ReportDecoderConfig
from colipri_core.model.report_generation import GenerationOptions
from colipri_core.model.report_generation import generate
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data.store import CaseStore
from colipri_training.data.text import SentenceBank
from colipri_training.evaluation.prompts import ENGINE
from colipri_training.evaluation.prompts import bundle_directions
from colipri_training.phantom_stage import NewPart
from colipri_training.phantom_stage import PhantomStage
from colipri_training.precision import native_bfloat16
from colipri_training.recipes.tiny import tiny_decoder
from colipri_training.writer.config import WriterConfig
from colipri_training.writer.wordings import SystematicReports

WRITER_STAGE = "writer"
_SAMPLED = 64
"""Phantoms whose tokens tell what is usual."""

_LARGE = 512
"""Encoder width from which the decoder has its full size."""

_GAIN = 0.5
_FLOOR = 1e-2
_RIDGE = 1e-6
_JUDGED_AT_ONCE = 16


class WriterTrainer(PhantomStage):
    """Fits a decoder.

    Args:
        config: The run.
        bundle: Its encoder is kept as it is.
        store: The phantoms, on the encoder's grid: those to learn from, and those of validation.
        folder: Where the log, the checkpoint and the tokens go.

    Raises:
        ValueError: If the store lacks some of the phantoms.
    """

    def __init__(self, config: WriterConfig, bundle: Bundle, *, store: CaseStore, folder: Path) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.decoder = ReportDecoder(config.decoder)
        part = NewPart(name="report_decoder", module=self.decoder, field="report", config=config.decoder.to_json())
        super().__init__(WRITER_STAGE, config, part, bundle, store=store, folder=folder)
        bank = SentenceBank.from_store(store, config.training_seeds)
        self._reports = SystematicReports(store, bank, bundle.tokenizer, max_length=config.decoder.max_length)
        if not self.resume():
            sample = self._tokens.batch(config.training_seeds[:_SAMPLED])
            start_memory(self.decoder, bundle, sample, self._grid)

    def _loss(self, step: int) -> Tensor:
        config = self.config
        rng = np.random.default_rng([config.seed, 7, step])
        seeds = [config.training_seeds[number] for number in rng.integers(0, config.cases, size=config.batch_size)]
        ids_BL, marks_BL = self._reports.batch(seeds, rng)
        self.decoder.train()
        torch.manual_seed(config.seed * 1_000_003 + step)
        with native_bfloat16():
            memory = self.decoder.memory(self._tokens.batch(seeds), self._grid)
            logits_BLV = self.decoder(ids_BL[:, :-1], memory)
        losses = F.cross_entropy(rearrange(logits_BLV.float(), "b l v -> b v l"), ids_BL[:, 1:], reduction="none")
        marks = marks_BL[:, 1:]
        weights = (marks >= 0) + (config.affirmed_weight - 1) * (marks == 1)
        return (losses * weights).sum() / weights.sum()

    def score(self, seeds: range) -> dict[str, float]:
        """Macro clinical F1 of what it writes."""
        return {"f1": self.macro_f1(seeds)}

    def write(self, seeds: range) -> list[str]:
        """Write the report of each phantom, greedily."""
        names = self.bundle.tokenizer
        options = GenerationOptions(
            begin=names.cls_token_id,
            end=names.sep_token_id,
            pad=names.pad_token_id,
            forbidden=(names.mask_token_id, names.unk_token_id),
            max_length=self.config.decoder.max_length,
        )
        self.decoder.eval()
        written: list[str] = []
        for start in range(0, len(seeds), _JUDGED_AT_ONCE):
            with torch.inference_mode():
                memory = self.decoder.memory(self._tokens.batch(seeds[start : start + _JUDGED_AT_ONCE]), self._grid)
                written += [str(names.decode(pieces)) for pieces in generate(self.decoder, memory, options)]
        return written

    def macro_f1(self, seeds: range) -> float:
        """Clinical F1 of what it writes, mean over the findings that some of the phantoms have."""
        said = np.array([label_report(text).vector for text in self.write(seeds)], dtype=bool)
        present = [self._store.read_text(seed)["present"] for seed in seeds]
        true = np.array([[finding in own for finding in range(len(CT_RATE_FINDINGS))] for own in present])
        hits, either = (said & true).sum(axis=0), said.sum(axis=0) + true.sum(axis=0)
        known = true.any(axis=0)
        return float(np.mean(2 * hits[known] / either[known]))


@torch.no_grad()
def start_memory(decoder: ReportDecoder, bundle: Bundle, tokens_BNC: Tensor, grid: tuple[int, int, int]) -> None:
    """Start the decoder's memory from the evidence of the findings, and from the principal components of the tokens.

    The first channels of the memory are the cosine of each token with the direction of a finding in the joint space,
    as nearly as a linear map gives it, the others what tells tokens apart most. All could be learned; from random
    weights that takes longer than all the rest. Our choice.

    Args:
        decoder: Changed in place.
        bundle: The model.
        tokens_BNC: Tokens of some phantoms.
        grid: Shape of the patch grid.
    """
    x, y, z = grid
    directions_FE = bundle_directions(bundle, ENGINE)
    dense = bundle.model.dense(rearrange(tokens_BNC, "b (x y z) c -> b c x y z", x=x, y=y, z=z))
    evidence = torch.einsum("bexyz,fe->bxyzf", F.normalize(dense, dim=1), directions_FE.to(dense)).flatten(0, 3)
    seen = decoder.memory_norm(tokens_BNC).flatten(0, 1).double()
    mean = seen.mean(dim=0)
    centred = seen - mean
    wanted = evidence.double() - evidence.double().mean(dim=0)
    covariance = centred.T @ centred / len(centred)
    variances, axes = torch.linalg.eigh(covariance)
    telling = (axes / (variances.clamp_min(0) + _FLOOR).sqrt()).flip(1).T
    ridge = _RIDGE * variances[-1] * torch.eye(len(covariance), dtype=covariance.dtype)
    pointing = torch.linalg.solve(covariance + ridge, centred.T @ wanted / len(centred)).T / wanted.std(dim=0)[:, None]
    rows = _GAIN * torch.cat([pointing, telling])[: decoder.config.width]
    decoder.memory_in.weight[: len(rows)] = rows
    decoder.memory_in.bias[: len(rows)] = -(rows @ mean)


def decoder_for(bundle: Bundle) -> ReportDecoderConfig:
    """Sizes of a decoder for a bundle: a small one for a small encoder, the published encoder's for that (our choice).

    Args:
        bundle: The model.
    """
    width, pieces = bundle.model.width, bundle.spec.architecture.text.vocab_size
    if width >= _LARGE:
        return ReportDecoderConfig(vocab_size=pieces, memory_width=width)
    return tiny_decoder(vocab_size=pieces, memory_width=width)
