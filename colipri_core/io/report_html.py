"""A draft report as one HTML file: nothing is fetched, pictures are inlined."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

from colipri_core.findings import EvidenceMap
from colipri_core.io.key_image import key_image
from colipri_core.language.assertions import Assertion
from colipri_core.report import Flag
from colipri_core.report import Report
from colipri_core.report import ReportSentence
from colipri_core.report_words import UNMENTIONED
from colipri_core.report_words import flag_lines
from colipri_core.report_words import notices
from colipri_core.report_words import place_text
from colipri_core.report_words import support_lines
from colipri_core.report_words import title
from colipri_core.report_words import unmentioned_line
from colipri_core.volume import Volume

if TYPE_CHECKING:
    from jinja2 import Template

FindEvidence = Callable[[str], EvidenceMap]
"""Returns the heat map of a phrase; a session's `evidence`."""

_DISPUTED = frozenset({Flag.CONTRADICTED, Flag.PLACE_DISPUTED, Flag.SIDE_DISPUTED})


def as_html(report: Report, *, volume: Volume | None, evidence: FindEvidence | None) -> str:
    """Return a report as a self-contained page.

    Sentences that affirm something, are disputed or are a reader's get a key image; the place of the others stands in
    words.

    Args:
        report: The report.
        volume: The CT it was drafted on; without it there are no pictures.
        evidence: Makes the heat maps of the pictures; without it they show the slice alone.
    """
    find = functools.cache(evidence) if evidence is not None else None
    sections = [
        {"name": section.name, "sentences": [_sentence(item, volume, find) for item in section.sentences]}
        for section in report.sections
    ]
    return _template().render(
        title=title(report),
        notices=notices(report),
        sections=sections,
        unmentioned=[unmentioned_line(finding) for finding in report.unmentioned],
        unmentioned_title=UNMENTIONED,
    )


def _sentence(sentence: ReportSentence, volume: Volume | None, find: FindEvidence | None) -> dict[str, Any]:
    picture, caption = None, ""
    if volume is not None and sentence.place_ras is not None and _is_shown(sentence):
        phrase = sentence.support.evidence_text
        heat = find(phrase) if find is not None and phrase is not None else None
        picture = base64.b64encode(key_image(volume, sentence.place_ras, heat)).decode("ascii")
        caption = f"{phrase or sentence.text} at {place_text(sentence.place_ras)}"
    return {
        "text": sentence.text,
        "flags": flag_lines(sentence),
        "support": support_lines(sentence),
        "image": picture,
        "caption": caption,
    }


def _is_shown(sentence: ReportSentence) -> bool:
    """Whether a sentence gets a picture: what it affirms, disputes, or says in a reader's words can be looked at."""
    is_own = Flag.EDITED in sentence.flags and sentence.support.assertion is not Assertion.ABSENT
    return sentence.is_affirmed or is_own or not _DISPUTED.isdisjoint(sentence.flags)


@functools.cache
def _template() -> Template:
    import jinja2

    loader = jinja2.PackageLoader("colipri_core.io", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("report.html.jinja")
