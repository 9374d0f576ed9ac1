"""Which volumes of a data set count: one reconstruction a study, and no study whose findings repeat another's text.

The rule is the one RadFinder's code attributes to COLIPRI for CT-RATE: of each study the reconstruction with the
smallest voxels in the slice, the first by name among equals; then studies whose findings text occurs before are
dropped, since retrieval cannot tell them apart. The final number is not published, so ours is always printed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence

from colipri_core.language.sections import SectionName
from colipri_core.language.sections import split_sections
from colipri_training.data.prepared import PreparedVolume


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
    """The volumes that count, in the data set's order, and what was left out in words."""

    volumes: tuple[PreparedVolume, ...]
    notes: tuple[str, ...]


def choose(volumes: Sequence[PreparedVolume], *, distinct_reports: bool, most: int | None = None) -> Chosen:
    """Apply the rule.

    Args:
        volumes: Of one split.
        distinct_reports: Drop studies whose findings text repeats that of one before.
        most: Keep at most so many, by a hash of their ids, so that a part is as mixed as the whole.
    """
    kept = _one_a_study(volumes)
    notes = [f"{len(volumes)} volumes"] if volumes else []
    if len(kept) < len(volumes):
        notes.append(f"{len(kept)} after one reconstruction a study (the one with the smallest voxels in the slice)")
    if distinct_reports:
        distinct = _distinct(kept)
        if len(distinct) < len(kept):
            notes.append(f"{len(distinct)} after dropping studies whose findings text repeats another's")
        kept = distinct
    if most is not None and len(kept) > most:
        picked = {volume.id for volume in sorted(kept, key=_draw)[:most]}
        kept = [volume for volume in kept if volume.id in picked]
        notes.append(f"{most} of these, drawn by a hash of the id")
    return Chosen(volumes=tuple(kept), notes=("; ".join(notes) + ".",) if notes else ())


def findings_text(report: str) -> str:
    """Words of the findings section, or of the whole report if it has none, for telling whether two are the same."""
    sections = [section.text for section in split_sections(report) if section.name is SectionName.FINDINGS]
    return " ".join(" ".join(sections or [report]).lower().split())


def _one_a_study(volumes: Sequence[PreparedVolume]) -> list[PreparedVolume]:
    best: dict[str, PreparedVolume] = {}
    for volume in volumes:
        study = volume.study or volume.id
        if study not in best or _resolution(volume) < _resolution(best[study]):
            best[study] = volume
    chosen = {volume.id for volume in best.values()}
    return [volume for volume in volumes if volume.id in chosen]


def _resolution(volume: PreparedVolume) -> tuple[float, str]:
    """Area of a voxel in the slice and the name; volumes prepared without their spacing are told by name alone."""
    spacing = volume.record.source_spacing_mm
    return (round(spacing[0] * spacing[1], 6) if spacing else math.inf, volume.id)


def _distinct(volumes: Sequence[PreparedVolume]) -> list[PreparedVolume]:
    seen: set[str] = set()
    kept = []
    for volume in volumes:
        text = findings_text(volume.report) if volume.report is not None else ""
        if not text or text not in seen:
            kept.append(volume)
        seen.add(text)
    return kept


def _draw(volume: PreparedVolume) -> bytes:
    return hashlib.sha256(volume.id.encode()).digest()
