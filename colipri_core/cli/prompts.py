"""Prompts as command line text: the R, A, S of each position in mm, with commas between, and + or - at the end."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from colipri_core.prompts import Box
from colipri_core.prompts import Lasso
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.prompts import Prompt
from colipri_core.prompts import Scribble
from colipri_core.prompts.types import Position

_SIGNS = {"+": True, "-": False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptTexts:
    """The prompt options of one command, as they were typed."""

    phrases: Sequence[str] = ()
    boxes: Sequence[str] = ()
    lassos: Sequence[str] = ()
    scribbles: Sequence[str] = ()
    points: Sequence[str] = ()

    def parsed(self) -> tuple[Prompt, ...]:
        """The prompts, from the coarse to the fine: phrases, boxes, lassos, scribbles, points.

        Raises:
            ValueError: If one cannot be understood; the message shows how it is written.
        """
        phrases = [Phrase(text=text) for text in self.phrases]
        boxes = [_box(text) for text in self.boxes]
        lassos = [_lasso(text) for text in self.lassos]
        scribbles = [_scribble(text) for text in self.scribbles]
        points = [_point(text) for text in self.points]
        return (*phrases, *boxes, *lassos, *scribbles, *points)


def _point(text: str) -> Point:
    positions, positive = _parsed(text, "--point R,A,S[,+|-]", at_least=1, at_most=1)
    return Point(ras=positions[0], positive=positive)


def _box(text: str) -> Box:
    form = "--box R,A,S,R,A,S[,+|-] (two opposite corners)"
    positions, positive = _parsed(text, form, at_least=2, at_most=2)
    return Box(lower_ras=positions[0], upper_ras=positions[1], positive=positive)


def _scribble(text: str) -> Scribble:
    positions, positive = _parsed(text, "--scribble R,A,S,R,A,S,...[,+|-]", at_least=1)
    return Scribble(ras=positions, positive=positive)


def _lasso(text: str) -> Lasso:
    form = "--lasso R,A,S,R,A,S,R,A,S,...[,+|-] (three corners or more)"
    positions, positive = _parsed(text, form, at_least=3)
    return Lasso(ras=positions, positive=positive)


def _parsed(text: str, form: str, *, at_least: int, at_most: int | None = None) -> tuple[tuple[Position, ...], bool]:
    words = [word.strip() for word in text.split(",")]
    positive = _SIGNS.get(words[-1])
    numbers = words if positive is None else words[:-1]
    try:
        values = [float(word) for word in numbers]
    except ValueError as error:
        raise _misspelt(text, form) from error
    count, rest = divmod(len(values), 3)
    too_many = at_most is not None and count > at_most
    if rest or count < at_least or too_many or not all(math.isfinite(value) for value in values):
        raise _misspelt(text, form)
    positions = tuple((values[n], values[n + 1], values[n + 2]) for n in range(0, len(values), 3))
    return positions, positive is not False


def _misspelt(text: str, form: str) -> ValueError:
    return ValueError(f'Expected {form}, positions in RAS mm, got "{text}".')
