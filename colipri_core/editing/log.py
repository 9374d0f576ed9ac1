"""The record of what was done, as JSON that replays to the same labels without any model."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from colipri_core.editing.canvas import Canvas
from colipri_core.editing.step import Step
from colipri_core.errors import UnreadableInputError
from colipri_core.geometry import VolumeGeometry
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume

FORMAT = "colipri-edit-log"
FORMAT_VERSION = 1
_DAMAGE = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What values of a wrong type or size lead to, in whichever part of a step they stand."""


def edit_log(volume: Volume, steps: Sequence[Step]) -> dict[str, Any]:
    """Return the steps that led to the present state, with the volume they belong to.

    What was undone is not among them. Each step carries the voxels it changed (Blosc2 in base64), so that the log
    gives the same labels whatever becomes of the model.

    Args:
        volume: The volume.
        steps: The steps, oldest first.
    """
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "case": volume.name,
        "volume_sha256": volume.sha256,
        **volume.geometry.to_json(),
        "steps": [{**step.to_json(), "voxels": _encoded(step)} for step in steps],
    }


def replay_log(document: dict[str, Any]) -> Segmentation:
    """Make the labels anew from a log.

    Args:
        document: What `edit_log` returned, maybe by way of a file.

    Raises:
        UnreadableInputError: If it is no such log, or was damaged.
    """
    try:
        if (document["format"], document["version"]) != (FORMAT, FORMAT_VERSION):
            msg = f"format {document['format']}, version {document['version']}"
            raise ValueError(msg)
        i, j, k = (int(size) for size in document["shape"])
        geometry = VolumeGeometry(shape=(i, j, k), affine=document["affine"])
        canvas = Canvas(geometry.shape)
        for entry in document["steps"]:
            canvas.do(_decoded(entry, geometry))
        segments = tuple(canvas.objects[label].segment for label in sorted(canvas.objects))
        return Segmentation(labelmap=canvas.labelmap, geometry=geometry, segments=segments)
    except _DAMAGE as error:
        msg = (
            f"Expected a log of edits ({FORMAT}, version {FORMAT_VERSION}), found something else ({error}). "
            "Give the JSON file that was written beside the labelmap."
        )
        raise UnreadableInputError(msg) from error


def _encoded(step: Step) -> str:
    return base64.b64encode(step.delta.packed).decode("ascii") if step.delta else ""


def _decoded(entry: dict[str, Any], geometry: VolumeGeometry) -> Step:
    step = Step.from_json(entry, base64.b64decode(entry["voxels"], validate=True))
    if step.delta is not None and not step.delta.fits(geometry.shape):
        msg = f"a box up to {step.delta.upper} on a grid of {geometry.shape}"
        raise ValueError(msg)
    return step
