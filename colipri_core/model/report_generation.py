"""Writing reports with a ReportDecoder: greedy, sampled, or with beams, each with cached keys and values.

Naming: B volumes, G beams of a volume, L word pieces so far, V vocabulary, M memory tokens, W decoder width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from einops import repeat
from torch import Tensor

from colipri_core.model.report_decoder import DecoderState
from colipri_core.model.report_decoder import ReportDecoder

StepHook = Callable[[Tensor], None]
"""Called after each word piece with all so far, `begin` included: (B, L), or (B * G, L) of all beams. An exception it
raises ends the writing."""


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """How a report is written. All defaults are our choice.

    Attributes:
        begin: Id of the piece a report begins with ([CLS]).
        end: Id of the piece that ends it ([SEP]).
        pad: Id that fills up finished reports ([PAD]).
        forbidden: Ids that are never written, beside `begin` and `pad`: the other special pieces.
        max_length: Longest report in word pieces, `begin` and `end` included; the decoder's own limit holds too.
        min_length: Shortest report; no `end` before it.
        beams: Reports that are kept in the search; 1 writes the likeliest next piece, or samples it.
        temperature: Divides the logits of sampling; 0 does not sample.
        top_p: Sampling keeps to the likeliest pieces that together have this probability.
        repetition_penalty: Above 1 makes pieces that were written already less likely (Keskar et al., CTRL, 2019).
            1 by default: reports deny one finding after another in the same words, and rightly so.
        length_penalty: Beams are compared by log probability / length ** this.
        seed: Decides what sampling draws.
    """

    begin: int
    end: int
    pad: int
    forbidden: tuple[int, ...] = ()
    max_length: int = 512
    min_length: int = 20
    beams: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    length_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse options that contradict each other."""
        if self.beams < 1 or (self.beams > 1 and self.temperature > 0):
            msg = f"beams must be at least 1, and 1 to sample, got {self.beams} with temperature {self.temperature}"
            raise ValueError(msg)
        if not 0 < self.top_p <= 1 or self.temperature < 0 or self.repetition_penalty <= 0:
            msg = (
                "top_p must lie in (0, 1], temperature at or above 0 and repetition_penalty above 0, "
                f"got {self.top_p}, {self.temperature} and {self.repetition_penalty}"
            )
            raise ValueError(msg)


@torch.no_grad()
def generate(
    decoder: ReportDecoder, memory_BMW: Tensor, options: GenerationOptions, *, on_step: StepHook | None = None
) -> list[list[int]]:
    """Write one report a volume.

    Args:
        decoder: In evaluation mode.
        memory_BMW: From `ReportDecoder.memory`.
        options: How.
        on_step: Called after each word piece.

    Returns:
        Word-piece ids of each report, without begin, end and padding.
    """
    write = _with_beams if options.beams > 1 else _one_by_one
    ids_BL = write(decoder, memory_BMW, options, on_step)
    special = {options.begin, options.end, options.pad}
    return [[piece for piece in row if piece not in special] for row in ids_BL.tolist()]


def _one_by_one(
    decoder: ReportDecoder, memory_BMW: Tensor, options: GenerationOptions, on_step: StepHook | None
) -> Tensor:
    generator = torch.Generator(memory_BMW.device).manual_seed(options.seed)
    state = decoder.start(memory_BMW)
    ids_BL = torch.full((len(memory_BMW), 1), options.begin, device=memory_BMW.device)
    done_B = torch.zeros(len(ids_BL), dtype=torch.bool, device=ids_BL.device)
    while ids_BL.shape[1] < _longest(decoder, options) and not done_B.all():
        scores_BV, state = _scores(decoder, ids_BL, state, options)
        following_B = _pick(scores_BV, options, generator).masked_fill(done_B, options.pad)
        done_B |= following_B == options.end
        ids_BL = torch.cat([ids_BL, rearrange(following_B, "b -> b 1")], dim=1)
        if on_step is not None:
            on_step(ids_BL)
    return ids_BL


def _with_beams(
    decoder: ReportDecoder, memory_BMW: Tensor, options: GenerationOptions, on_step: StepHook | None
) -> Tensor:
    """Beam search; a finished beam stays among the others and goes on with padding at no cost."""
    volumes, beams = len(memory_BMW), options.beams
    state = decoder.start(memory_BMW).select(_repeated(volumes, beams, memory_BMW.device))
    ids_NL = torch.full((volumes * beams, 1), options.begin, device=memory_BMW.device)
    total_BG = torch.full((volumes, beams), -torch.inf, device=memory_BMW.device)
    total_BG[:, 0] = 0.0
    while ids_NL.shape[1] < _longest(decoder, options):
        scores_NV, state = _scores(decoder, ids_NL, state, options)
        logs_NV = _continue_finished(scores_NV.log_softmax(dim=-1), ids_NL, options)
        pieces = logs_NV.shape[1]
        candidates = rearrange(total_BG, "b g -> b g 1") + rearrange(logs_NV, "(b g) v -> b g v", g=beams)
        total_BG, best_BG = rearrange(candidates, "b g v -> b (g v)").topk(beams, dim=1)
        first_B1 = rearrange(torch.arange(volumes, device=ids_NL.device) * beams, "b -> b 1")
        rows_N = rearrange(first_B1 + best_BG // pieces, "b g -> (b g)")
        state = state.select(rows_N)
        ids_NL = torch.cat([ids_NL[rows_N], rearrange(best_BG % pieces, "b g -> (b g) 1")], dim=1)
        if on_step is not None:
            on_step(ids_NL)
        if _finished(ids_NL, options).all():
            break
    lengths_BG = rearrange((ids_NL != options.pad).sum(dim=1), "(b g) -> b g", g=beams)
    best_B = (total_BG / lengths_BG**options.length_penalty).argmax(dim=1)
    return rearrange(ids_NL, "(b g) l -> b g l", g=beams)[torch.arange(volumes, device=best_B.device), best_B]


def _scores(
    decoder: ReportDecoder, ids_BL: Tensor, state: DecoderState, options: GenerationOptions
) -> tuple[Tensor, DecoderState]:
    """Logits of the next piece (B, V), what may not be written at minus infinity."""
    logits_B1V, state = decoder.advance(ids_BL[:, -1:], state)
    scores_BV = logits_B1V[:, -1].float()
    if options.repetition_penalty != 1.0:
        seen = scores_BV.gather(1, ids_BL)
        penalised = torch.where(seen > 0, seen / options.repetition_penalty, seen * options.repetition_penalty)
        scores_BV = scores_BV.scatter(1, ids_BL, penalised)
    scores_BV[:, [options.begin, options.pad, *options.forbidden]] = -torch.inf
    if ids_BL.shape[1] + 1 < options.min_length:
        scores_BV[:, options.end] = -torch.inf
    return scores_BV, state


def _pick(scores_BV: Tensor, options: GenerationOptions, generator: torch.Generator) -> Tensor:
    if options.temperature == 0:
        return scores_BV.argmax(dim=-1)
    probabilities = (scores_BV / options.temperature).softmax(dim=-1)
    ranked, order = probabilities.sort(dim=-1, descending=True)
    ranked = ranked.masked_fill(ranked.cumsum(dim=-1) - ranked >= options.top_p, 0.0)
    drawn = torch.multinomial(ranked, 1, generator=generator)
    return rearrange(order.gather(1, drawn), "b 1 -> b")


def _continue_finished(logs_NV: Tensor, ids_NL: Tensor, options: GenerationOptions) -> Tensor:
    only_pad = torch.full_like(logs_NV, -torch.inf)
    only_pad[:, options.pad] = 0.0
    return torch.where(rearrange(_finished(ids_NL, options), "n -> n 1"), only_pad, logs_NV)


def _finished(ids_NL: Tensor, options: GenerationOptions) -> Tensor:
    return (ids_NL[:, -1] == options.end) | (ids_NL[:, -1] == options.pad)


def _longest(decoder: ReportDecoder, options: GenerationOptions) -> int:
    return min(options.max_length, decoder.config.max_length)


def _repeated(volumes: int, beams: int, device: torch.device) -> Tensor:
    return repeat(torch.arange(volumes, device=device), "b -> (b g)", g=beams)
