"""Which of the images in a DICOM folder make up a volume, and which volume is meant."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from colipri_core.errors import SeveralSeriesError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.io.checks import refusal
from colipri_core.io.dicom_headers import Frame
from colipri_core.io.dicom_headers import Instance
from colipri_core.io.dicom_headers import frames_of

_SAME_ORIENTATION = 0.02
_PLANES = ("sagittal", "coronal", "axial")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """Images of one series with one orientation.

    Args:
        instances: The image files.
        frames: Their planes that say where they lie.
        problem: Why they are no volume; empty if they may be one.
    """

    instances: tuple[Instance, ...]
    frames: tuple[Frame, ...]
    problem: str = ""

    @property
    def uid(self) -> str:
        """Series Instance UID; empty in some anonymised files."""
        return self.instances[0].text("SeriesInstanceUID")

    @property
    def number(self) -> str:
        """Series Number as text; may be empty."""
        return self.instances[0].text("SeriesNumber")

    @property
    def summary(self) -> str:
        """What it shows, in one line."""
        first = self.instances[0]
        parts = [f"series {self.number or '?'}"]
        if first.text("SeriesDescription"):
            parts.append(f'"{first.text("SeriesDescription")}"')
        parts.append(first.text("Modality") or "unknown modality")
        if self.frames:
            frame = self.frames[0]
            normal = np.abs(np.cross(frame.orientation[:3], frame.orientation[3:]))
            rows, columns = frame.size
            parts.append(f"{len(self.frames)} {_PLANES[int(normal.argmax())]} slices of {columns} x {rows}")
        return ", ".join(parts)


def group_series(instances: Sequence[Instance]) -> list[Series]:
    """Sort images into series, and series of several orientations into parts.

    Returns:
        By series number and identifier; those that cannot be volumes carry the reason.
    """
    by_uid: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        by_uid[instance.text("SeriesInstanceUID")].append(instance)
    series = [part for members in by_uid.values() for part in _parts(members)]
    return sorted(series, key=lambda part: (_as_number(part.number), part.uid, -len(part.frames)))


def choose_series(name: str, found: Sequence[Series], wanted: str | int | None) -> tuple[Series, tuple[str, ...]]:
    """Pick the series to be read.

    Args:
        name: Name of the folder, for messages.
        found: All series of the folder.
        wanted: Series Instance UID, series number, or place in the list from 1; None if there is only one.

    Returns:
        The series, and a note of what was left out.

    Raises:
        UnsupportedVolumeError: If no series is a volume, or none is the one wanted.
        SeveralSeriesError: If there are several and none was named.
    """
    volumes = [series for series in found if not series.problem]
    if not volumes:
        reasons = "; ".join(f"{series.summary}: {series.problem}" for series in found)
        remedy = "Give the folder of a CT series as the scanner or archive wrote it."
        raise UnsupportedVolumeError(refusal(name, expected="a CT series of slices", found=reasons, remedy=remedy))
    listing = {_key(series, place, volumes): series.summary for place, series in enumerate(volumes, start=1)}
    lines = "\n".join(f"  {place}: {text} ({key})" for place, (key, text) in enumerate(listing.items(), start=1))
    if wanted is not None:
        chosen = _matching(volumes, str(wanted).strip())
        if chosen is None:
            message = refusal(name, expected=f'series "{wanted}"', found=f"these series:\n{lines}", remedy="Name one.")
            raise SeveralSeriesError(message, series=listing)
        return chosen, ()
    if len(volumes) > 1:
        remedy = "Pick one by its number in this list, its series number or its UID (--series)."
        message = refusal(name, expected="one series", found=f"{len(volumes)}:\n{lines}", remedy=remedy)
        raise SeveralSeriesError(message, series=listing)
    notes = tuple(f"Left out: {series.summary} ({series.problem})." for series in found if series.problem)
    return volumes[0], notes


def _parts(members: list[Instance]) -> list[Series]:
    localizers = [instance for instance in members if _is_localizer(instance)]
    others = [instance for instance in members if not _is_localizer(instance)]
    parts = [Series(instances=tuple(localizers), frames=(), problem="localizer")] if localizers else []
    colour = [instance for instance in others if int(instance.header.get("SamplesPerPixel") or 1) > 1]
    if colour:
        parts.append(Series(instances=tuple(colour), frames=(), problem="colour images, not CT intensities"))
    grey = [instance for instance in others if instance not in colour]
    placed = {id(instance): frames_of(instance) for instance in grey}
    unplaced = [instance for instance in grey if not placed[id(instance)]]
    if unplaced:
        problem = "no position, orientation or pixel spacing in its header"
        parts.append(Series(instances=tuple(unplaced), frames=(), problem=problem))
    return parts + _by_orientation([frame for instance in grey for frame in placed[id(instance)]])


def _by_orientation(frames: list[Frame]) -> list[Series]:
    groups: list[list[Frame]] = []
    for frame in frames:
        for group in groups:
            if np.abs(group[0].orientation - frame.orientation).max() < _SAME_ORIENTATION:
                group.append(frame)
                break
        else:
            groups.append([frame])
    series = []
    for group in groups:
        instances = {id(frame.instance): frame.instance for frame in group}
        problem = "a single slice" if len(group) == 1 else ""
        series.append(Series(instances=tuple(instances.values()), frames=tuple(group), problem=problem))
    return series


def _is_localizer(instance: Instance) -> bool:
    image_type = instance.header.get("ImageType") or []
    values = [image_type] if isinstance(image_type, str) else list(image_type)
    return "LOCALIZER" in [str(value).strip().upper() for value in values]


def _matching(volumes: Sequence[Series], wanted: str) -> Series | None:
    for found in ([s for s in volumes if s.uid == wanted], [s for s in volumes if s.number == wanted]):
        if len(found) == 1:
            return found[0]
    if wanted.isdigit() and 1 <= int(wanted) <= len(volumes):
        return volumes[int(wanted) - 1]
    return None


def _key(series: Series, place: int, volumes: Sequence[Series]) -> str:
    unique = series.uid and sum(other.uid == series.uid for other in volumes) == 1
    return series.uid if unique else str(place)


def _as_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")
