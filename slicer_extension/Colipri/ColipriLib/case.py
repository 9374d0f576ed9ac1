"""What is known of one CT in the scene: its volume as it was taken, and the results it has so far."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import slicer

from colipri_core.editing.change import EditingState
from colipri_core.listing import FindingRow
from colipri_core.report import Report
from colipri_core.volume import Volume
from ColipriLib.rows import StructureRow
from ColipriLib.scene import volumes

if TYPE_CHECKING:
    from colipri_core.cases import Match

Identity = tuple[str, int, bytes]


@dataclasses.dataclass(kw_only=True, eq=False)
class Case:
    """A CT and its results.

    Args:
        node: The volume node.
        volume: Its voxels and place when it was taken.
        identity: Tells whether the node still is what was taken.
        findings: Rows, most probable first.
        structures: Rows.
        report: The draft, with its edits.
        report_edited: Whether the user changed it.
        state: How the labels stand; None before they were opened.
        stamp: What `segments.stamp` said when the labels' node last showed what the session held and nothing else;
            None if it has to be read.
        pending: What was not answered yet -> label of the object it is about, which need not be there yet.
        matches: Similar cases, nearest first.
        notice: The model that the results came from.
        warnings: What makes them doubtful.
    """

    node: slicer.vtkMRMLScalarVolumeNode
    volume: Volume
    identity: Identity
    findings: tuple[FindingRow, ...] = ()
    structures: tuple[StructureRow, ...] = ()
    report: Report | None = None
    report_edited: bool = False
    state: EditingState | None = None
    stamp: int | None = None
    pending: dict[object, int] = dataclasses.field(default_factory=dict)
    matches: tuple[Match, ...] = ()
    notice: str = ""
    warnings: tuple[str, ...] = ()

    @classmethod
    def take(cls, node: slicer.vtkMRMLScalarVolumeNode | None) -> Case:
        """Take a volume node as a case without results.

        Args:
            node: The CT.

        Raises:
            UnsupportedVolumeError: If it cannot be one.
        """
        volume = volumes.volume_of(node)
        assert node is not None
        return cls(node=node, volume=volume, identity=identity_of(node))

    @property
    def labels(self) -> frozenset[int]:
        """Labels of the objects there are and will be."""
        objects = self.state.objects if self.state is not None else ()
        return frozenset((*self.pending.values(), *(item.label for item in objects)))

    def warn(self, warnings: tuple[str, ...]) -> None:
        """Add warnings that are not there yet."""
        self.warnings = tuple(dict.fromkeys((*self.warnings, *warnings)))


def identity_of(node: slicer.vtkMRMLScalarVolumeNode) -> Identity:
    """What changes when a volume's voxels, matrix or parent transforms change."""
    return node.GetID(), node.GetImageData().GetMTime(), volumes.geometry_of(node).affine.tobytes()
