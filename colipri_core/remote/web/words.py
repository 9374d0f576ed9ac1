"""What the page says of results: rows made of the engine's results, in the words that exports and napari use."""

from __future__ import annotations

from typing import Any

from colipri_core.geometry import VolumeGeometry
from colipri_core.report import Report
from colipri_core.report import ReportSentence
from colipri_core.report_words import UNMENTIONED
from colipri_core.report_words import flag_lines
from colipri_core.report_words import flag_words
from colipri_core.report_words import notices
from colipri_core.report_words import support_lines
from colipri_core.report_words import unmentioned_line
from colipri_core.segmentation import Segmentation
from colipri_core.segmentation import label_centers


def report_rows(report: Report) -> dict[str, Any]:
    """Return a draft as the page lists it: each row has its words, flags, what it rests on, and where it leads.

    Args:
        report: The draft.
    """
    unmentioned: list[dict[str, Any]] = [
        {"text": unmentioned_line(item), "phrase": item.name, "place_ras": None, "flags": "", "details": []}
        for item in report.unmentioned
    ]
    sections = [
        {"name": section.name, "sentences": [_sentence_row(sentence) for sentence in section.sentences]}
        for section in report.sections
    ]
    if unmentioned:
        sections.append({"name": UNMENTIONED, "sentences": unmentioned})
    return {"status": report.status, "notices": list(notices(report)), "sections": sections}


def segment_rows(segmentation: Segmentation) -> list[dict[str, Any]]:
    """Return the structures of a segmentation with their volumes and a place in the midst of each.

    Args:
        segmentation: The structures; every voxel is looked at, so call it in a thread.
    """
    volumes = segmentation.volume_ml_by_label()
    labels = [segment.label for segment in segmentation.segments]
    centers = label_centers(segmentation.labelmap, labels, axis=2)
    places = {label: rounded_place(segmentation.geometry, center) for label, center in centers.items()}
    return [
        {
            **segment.to_json(),
            "volume_ml": round(volumes[segment.label], 3),
            "center_ras": places.get(segment.label),
        }
        for segment in segmentation.segments
    ]


def rounded_place(geometry: VolumeGeometry, index: tuple[float, float, float]) -> list[float]:
    """Return the RAS+ place of a voxel index, in hundredths of a mm."""
    return [round(float(value), 2) for value in geometry.index_to_world(index)]


def _sentence_row(sentence: ReportSentence) -> dict[str, Any]:
    return {
        "text": sentence.text,
        "phrase": sentence.support.evidence_text,
        "place_ras": None if sentence.place_ras is None else list(sentence.place_ras),
        "flags": flag_words(sentence.flags),
        "details": [*flag_lines(sentence), *support_lines(sentence)],
    }
