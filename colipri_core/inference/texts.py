"""Texts to unit vectors of the joint space, kept for as long as the engine lives."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from colipri_core.model.bundle import Bundle
from colipri_core.model.tokenizer import tokenize
from colipri_core.progress import Reporter
from colipri_core.vocabulary.wordings import Wording

_MAX_TEXTS = 4096
_BATCH = 32


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PromptPair:
    """The two sides of a question in the joint space.

    Args:
        present: Unit vector (E,) of the present side.
        absent: Unit vector (E,) of the absent side.
    """

    present: Tensor
    absent: Tensor

    @property
    def direction(self) -> Tensor:
        """The difference of both, (E,): its product with a unit vector is a difference of cosine similarities."""
        return self.present - self.absent


class TextEmbedder:
    """Embeds texts with a bundle's text encoder and remembers the last few thousand.

    Args:
        bundle: The loaded bundle.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._known: OrderedDict[str, Tensor] = OrderedDict()

    def pair(self, wording: Wording, device: torch.device) -> PromptPair:
        """Return both sides of a question.

        A side with several phrasings is the mean of their unit vectors, scaled to unit length again.

        Args:
            wording: The phrasings.
            device: Where the text encoder is.
        """
        vectors = self.embed((*wording.present, *wording.absent), device)
        split = len(wording.present)
        return PromptPair(present=_mean(vectors[:split]), absent=_mean(vectors[split:]))

    def embed(self, texts: Sequence[str], device: torch.device, report: Reporter | None = None) -> Tensor:
        """Return the unit vectors (T, E) of texts, on the CPU, encoding those not seen before.

        Texts of like length go together, so that little is spent on padding.

        Args:
            texts: Any texts, at least one.
            device: Where the text encoder is.
            report: Told of the progress.
        """
        missing = sorted({text for text in texts if text not in self._known}, key=lambda text: (len(text), text))
        for start in range(0, len(missing), _BATCH):
            if report is not None:
                report(start / len(missing), "Reading the questions")
            batch = missing[start : start + _BATCH]
            self._known.update(zip(batch, self._encode(batch, device), strict=True))
        for text in texts:
            self._known.move_to_end(text)
        vectors = torch.stack([self._known[text] for text in texts])
        while len(self._known) > _MAX_TEXTS:
            self._known.popitem(last=False)
        return vectors

    def unknown_pieces(self, text: str) -> tuple[int, int]:
        """Return how many word pieces of a text the model's vocabulary lacks, and how many the text has.

        Args:
            text: Any text.
        """
        ids, mask = self._tokenize([text])
        unknown = int((ids == self._bundle.tokenizer.unk_token_id).sum())
        return unknown, int(mask.sum()) - 2  # without the markers of beginning and end

    def warnings(self, texts: Sequence[str]) -> list[str]:
        """Return one line for each text with words the model's vocabulary lacks.

        Args:
            texts: Any texts.
        """
        counts = [(text, *self.unknown_pieces(text)) for text in texts]
        return [
            f'{unknown} of {pieces} word pieces of "{text}" are unknown to this model, which cannot heed them.'
            for text, unknown, pieces in counts
            if unknown
        ]

    def _encode(self, texts: Sequence[str], device: torch.device) -> Tensor:
        ids, mask = self._tokenize(texts)
        legacy = self._bundle.spec.text.legacy_padding
        return self._bundle.model.encode_text(ids.to(device), mask.to(device), legacy_padding=legacy).cpu()

    def _tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        text = self._bundle.spec.text
        return tokenize(self._bundle.tokenizer, texts, text.max_length, pad_to_max=text.legacy_padding)


def _mean(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors.mean(dim=0), dim=0)
