"""Which side of the patient a sentence speaks of."""

from __future__ import annotations

import re
from typing import Literal

_LEFT = re.compile(r"\b(?:left|lingula\w*)\b", re.IGNORECASE)
_RIGHT = re.compile(r"\b(?:right|middle lobe|azygos)\b", re.IGNORECASE)
_BOTH = re.compile(r"\b(?:both|bilateral\w*|each)\b", re.IGNORECASE)
# A vessel of the heart is named after a side it may not lie on.
_NAMES = re.compile(
    r"\b(?:left|right) (?:anterior descending|circumflex|coronary|main coronary|atri\w+|ventric\w+|main (?=arter))\w*",
    re.IGNORECASE,
)


def side_named(sentence: str) -> Literal["left", "right"] | None:
    """Return the one side a sentence names; None if it names none or both."""
    text = _NAMES.sub(" ", sentence)
    left, right = bool(_LEFT.search(text)), bool(_RIGHT.search(text))
    if left == right or _BOTH.search(text):
        return None
    return "left" if left else "right"
