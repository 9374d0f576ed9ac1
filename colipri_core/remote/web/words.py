"""What the page says of results: rows made of the engine's results, in the words that exports and napari use."""

from __future__ import annotations

from typing import Any

import numpy as np

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
    volumes = segmentation.volumes_ml()
    places = midst_of_labels(segmentation)
    return [
        {
            **segment.to_json(),
            "volume_ml": round(volumes[segment.name], 3),
            "center_ras": places.get(segment.label),
        }
        for segment in segmentation.segments
    ]


def midst_of_labels(segmentation: Segmentation) -> dict[int, list[float]]:
    """Find a voxel in the midst of each label: nearest to the centroid of its largest slice along k.

    A centroid of the whole may lie outside a bent structure; this voxel never does.

    Args:
        segmentation: The structures.

    Returns:
        Label -> RAS+ mm; labels without voxels are missing.
    """
    labelmap, geometry = segmentation.labelmap, segmentation.geometry
    size = max((segment.label for segment in segmentation.segments), default=0) + 1
    areas = np.stack([np.bincount(plane.ravel(), minlength=size)[:size] for plane in np.moveaxis(labelmap, 2, 0)])
    places = {}
    for segment in segmentation.segments:
        plane = int(np.argmax(areas[:, segment.label]))
        if areas[plane, segment.label]:
            points = np.argwhere(labelmap[:, :, plane] == segment.label)
            nearest = points[np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1))]
            places[segment.label] = rounded_place(geometry, (int(nearest[0]), int(nearest[1]), plane))
    return places


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
