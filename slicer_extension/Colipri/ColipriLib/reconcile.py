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

LOCKED = (
    "Locked objects stay as they are: what was changed by hand in {} was taken back. "
    "To change it, take the tick off Locked first."
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """What a segmentation node shows.

    Args:
        labelmap: `[i, j, k]`.
        segments: What its values mean.
    """

    labelmap: Labels
    segments: tuple[Segment, ...]


def reconcile(session: Session, shown: Shown) -> str:
    """Make the session's labels those that are shown, but for those of locked objects; each edit can be undone.

    Args:
        session: The session.
        shown: What the node shows.

    Returns:
        What was not taken over, in words; empty if everything was.
    """
    objects = session.editing.objects
    locked = {item.label: item.name for item in objects if item.locked}
    present = session.segmentation.labelmap
    differs = present != shown.labelmap
    barred = differs.copy()
    barred[differs] = np.isin(present[differs], list(locked)) | np.isin(shown.labelmap[differs], list(locked))
    gone = {item.label for item in objects} - {segment.label for segment in shown.segments}
    for edit in (*object_edits(objects, shown.segments), *paint_edits(shown.labelmap, differs & ~barred)):
        session.edit(edit)
    for label in sorted(gone - set(locked)):
        session.edit(RemoveObject(label=label))
    touched = {*np.unique(present[barred]).tolist(), *np.unique(shown.labelmap[barred]).tolist(), *gone}
    names = ", ".join(f'"{name}"' for label, name in locked.items() if label in touched)
    return LOCKED.format(names) if names else ""


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


def paint_edits(labelmap: Labels, where: npt.NDArray[np.bool_]) -> list[Edit]:
    """Edits that give voxels to the objects they are shown as, and take them from those they are not.

    Args:
        labelmap: What is shown, `[i, j, k]`.
        where: The voxels.
    """
    crops = {int(label): Crop.around(where & (labelmap == label)) for label in np.unique(labelmap[where])}
    return [Paint(voxels=crop, label=label, policy="replace") for label, crop in crops.items()]
