"""Drafting with a report decoder: word pieces become sentences while they are written, each with where it looked.

A sentence ends at a full stop, question or exclamation mark that is no decimal point; the words "findings" or
"impression" before a colon open a section. Attention is averaged over the sentence's pieces and its peak is sought in
the body, on the decoder's pooled memory grid (our choice).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from colipri_core.geometry import VolumeGeometry
from colipri_core.inference.evidence import token_grid
from colipri_core.inference.evidence import tokens_to_look_at
from colipri_core.inference.features import Features
from colipri_core.inference.report_lines import Line
from colipri_core.inference.report_lines import TakeLine
from colipri_core.inference.runtime import ModelRuntime
from colipri_core.language.sections import HEADINGS
from colipri_core.language.sections import SectionName
from colipri_core.language.sentences import normalise
from colipri_core.model.report_attention import AttentionWatch
from colipri_core.model.report_generation import GenerationOptions
from colipri_core.model.report_generation import generate
from colipri_core.progress import Reporter
from colipri_core.report import DraftOptions
from colipri_core.report import Place

SOURCE = "report decoder"

Look = Callable[[int, int], Place]

_STOPS = frozenset(".?!")
_SECTIONS = {heading: name for name, headings in HEADINGS.items() for heading in headings}
_GLUED = re.compile(r"(?<=\w) ([-/']) (?=\w)|(?<=\d) ([.,]) (?=\d)")


def write(runtime: ModelRuntime, features: Features, options: DraftOptions, report: Reporter, take: TakeLine) -> None:
    """Write a report and hand over each sentence as it is finished; with beams, all at the end.

    Args:
        runtime: A model with a report decoder.
        features: What is known of the volume.
        options: How.
        report: Told of every word piece; cancelling it ends the writing there.
        take: Receives the lines.
    """
    decoder = runtime.language.report_decoder
    assert decoder is not None, "asked for only where the bundle has a decoder"
    grid = (features.grid.shape[2], features.grid.shape[3], features.grid.shape[4])
    tokens_BNC = rearrange(features.grid, "b c x y z -> b (x y z) c").to(runtime.device, torch.float32)
    memory_BMW = decoder.memory(tokens_BNC, grid)
    generation = _options(runtime, options)
    longest = min(generation.max_length, decoder.config.max_length)
    with AttentionWatch(decoder) as watch:
        look = _Looker(watch, features, decoder.config.memory_pool)
        splitter = SentenceSplitter(runtime.language.tokenizer, look, take)

        def on_step(ids: Tensor) -> None:
            report(ids.shape[1] / longest, "Writing the draft")
            if options.beams == 1 and int(ids[0, -1]) != generation.end:
                splitter.add(int(ids[0, -1]))

        (pieces,) = generate(decoder, memory_BMW, generation, on_step=on_step)
        if options.beams > 1:
            watch.forget()
            decoder(torch.tensor([[generation.begin, *pieces]], device=runtime.device), memory_BMW)
            for piece in pieces:
                splitter.add(piece)
    splitter.finish(is_cut=len(pieces) == longest - 1)


class SentenceSplitter:
    """Collects word pieces and hands over each sentence once its end is certain.

    Args:
        tokenizer: Names the word pieces.
        look: Returns where the decoder looked while it wrote pieces `start` to `stop` - 1.
        take: Receives the sentences.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, look: Look, take: TakeLine) -> None:
        self._names = tokenizer
        self._look = look
        self._take = take
        self._section = SectionName.FINDINGS
        self._pieces: list[str] = []
        self._start = 0

    def add(self, piece: int) -> None:
        """Take the next word piece."""
        word = str(self._names.convert_ids_to_tokens(piece))
        if self._pieces and self._pieces[-1] in _STOPS and not self._is_decimal(word):
            self._hand_over()
        self._pieces.append(word)
        heading = _SECTIONS.get(joined(self._pieces[:-1])) if word == ":" else None
        if heading is not None:
            self._section = heading
            self._drop()
        elif word in _STOPS and not (len(self._pieces) > 1 and self._pieces[-2].isdigit()):
            self._hand_over()

    def finish(self, *, is_cut: bool = False) -> None:
        """Hand over what is left: the report has ended.

        Args:
            is_cut: Whether it reached its longest length: then a sentence without an end is dropped, since half a
                sentence may say the opposite of the whole.
        """
        if not is_cut or (self._pieces and self._pieces[-1] in _STOPS):
            self._hand_over()

    def _is_decimal(self, word: str) -> bool:
        return word.isdigit() and len(self._pieces) > 1 and self._pieces[-2].isdigit()

    def _hand_over(self) -> None:
        text = normalise(joined(self._pieces))
        if text:
            place = self._look(self._start, self._start + len(self._pieces))
            self._take(Line(section=self._section, text=text, source=SOURCE, attention_ras=place))
        self._drop()

    def _drop(self) -> None:
        self._start += len(self._pieces)
        self._pieces = []


def joined(pieces: Sequence[str]) -> str:
    """Return word pieces as text: "##" pieces, hyphens, decimals and slashes without blanks around them.

    Args:
        pieces: BERT's word pieces.
    """
    text = " ".join(pieces).replace(" ##", "")
    return _GLUED.sub(lambda match: match[1] or match[2], text)


class _Looker:
    """Turns attention over memory tokens into a place in the patient."""

    def __init__(self, watch: AttentionWatch, features: Features, pool: int) -> None:
        self._watch = watch
        grid = token_grid(features, features.grid[0])
        may_look = tokens_to_look_at(features, grid)
        self._cells = _cells(grid.shape, pool)
        self._allowed = np.array([may_look[cell].any() for cell in self._cells])
        self._grid: VolumeGeometry = grid

    def __call__(self, start: int, stop: int) -> Place:
        attention = self._watch.mean(start, stop).numpy()
        cell = self._cells[int(np.where(self._allowed, attention, -np.inf).argmax())]
        middle = [(part.start + part.stop - 1) / 2 for part in cell]
        r, a, s = (float(value) for value in self._grid.index_to_world(middle))
        return r, a, s


def _cells(shape: tuple[int, int, int], pool: int) -> list[tuple[slice, slice, slice]]:
    """The tokens behind each memory token, row-major; a rim that fills no cube is smaller."""
    parts = [[slice(i, min(i + pool, size)) for i in range(0, size, pool)] for size in shape]
    return [(x, y, z) for x, y, z in itertools.product(*parts)]


def _options(runtime: ModelRuntime, options: DraftOptions) -> GenerationOptions:
    tokenizer = runtime.language.tokenizer
    begin, end, pad = (
        int(tokenizer.convert_tokens_to_ids(piece))  # type: ignore[arg-type]
        for piece in (tokenizer.cls_token, tokenizer.sep_token, tokenizer.pad_token)
    )
    others = tuple(piece for piece in tokenizer.all_special_ids if piece not in {begin, end, pad})
    return GenerationOptions(
        begin=begin,
        end=end,
        pad=pad,
        forbidden=others,
        max_length=options.max_length,
        min_length=0,  # a decoder that has said all must not be made to go on
        beams=options.beams,
    )
