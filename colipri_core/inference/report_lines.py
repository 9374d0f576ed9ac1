"""A line of a draft before it is checked: the words, where they stand, and where they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from colipri_core.language.sections import SectionName
from colipri_core.report import Place


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """A sentence that was written or found, not yet checked.

    Args:
        section: Where it stands.
        text: Its words in normal form.
        source: See `SentenceSupport.source`.
        attention_ras: Where the report decoder looked most while it wrote it.
    """

    section: SectionName
    text: str
    source: str
    attention_ras: Place | None = None


TakeLine = Callable[[Line], None]
"""Receives each line as soon as it is there."""
