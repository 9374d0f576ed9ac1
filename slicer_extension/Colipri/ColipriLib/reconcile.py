"""Edits made in the Segment Editor become edits of the session, so that undo, autosave and export know them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from colipri_core.editing.edits import AddObject
from colipri_core.editing.edits import ChangeObject
from colipri_core.editing.edits import Edit
from colipri_core.editing.edits import Paint
from colipri_core.editing.edits import RemoveObject
from colipri_core.editing.objects import LabelObject
from colipri_core.prompts.crop import Crop
from colipri_core.segmentation import Segment
from colipri_core.session import Session

Labels = npt.NDArray[np.unsignedinteger]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """What a segmentation node shows.

    Args:
        labelmap: `[i, j, k]`.
        segments: What its values mean.
    """

    labelmap: Labels
    segments: tuple[Segment, ...]


def reconcile(session: Session, shown: Shown) -> int:
    """Make the session's labels those that are shown; each edit can be undone.

    Args:
        session: The session.
        shown: What the node shows.

    Returns:
        How many edits were made.

    Raises:
        ObjectLockedError: If a locked object was changed by hand.
    """
    edits = (*object_edits(session.editing.objects, shown.segments), *paint_edits(session, shown))
    for edit in edits:
        session.edit(edit)
    gone = {item.label for item in session.editing.objects} - {segment.label for segment in shown.segments}
    for label in sorted(gone):
        session.edit(RemoveObject(label=label))
    return len(edits) + len(gone)


def object_edits(objects: Sequence[LabelObject], segments: Sequence[Segment]) -> list[Edit]:
    """Edits that add segments which are no objects yet, and rename, code and colour those that are.

    Args:
        objects: The session's objects.
        segments: The segments that are shown.
    """
    known = {item.label: item.segment for item in objects}
    edits: list[Edit] = []
    for segment in segments:
        former = known.get(segment.label)
        if former is None:
            edits.append(AddObject(name=segment.name, code=segment.code, color=segment.color, label=segment.label))
        elif former != segment:
            edits.append(ChangeObject(label=segment.label, name=segment.name, code=segment.code, color=segment.color))
    return edits


def paint_edits(session: Session, shown: Shown) -> list[Edit]:
    """Edits that give voxels to the objects they are shown as, and take them from those they are not.

    Args:
        session: The session.
        shown: What is shown.
    """
    present = session.segmentation.labelmap
    differs = present != shown.labelmap
    labels = np.unique(shown.labelmap[differs])
    crops = {int(label): Crop.around(differs & (shown.labelmap == label)) for label in labels}
    return [Paint(voxels=crop, label=label, policy="replace") for label, crop in crops.items()]
