"""The layers of a case that is being labelled: labels, and the marks of prompts, on the grid of the CT layer."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from colipri_core.editing.change import Change
from colipri_core.editing.change import EditingState
from napari_colipri import layers as result_layers
from napari_colipri.source import mm_per_unit
from napari_colipri.tools import prompt_marks

if TYPE_CHECKING:
    import napari.components
    from napari.layers import Labels
    from napari.layers import Points

    from napari_colipri.workflow import Case

POSITIVE, NEGATIVE = "#37d67a", "#ff4d4f"
_OPACITY = 0.55
_MARK_MM = 3.0
_MAX_MARK_VOXELS = 50.0
"""Larger marks hide what lies under them, on layers whose scale makes their voxels tiny (our choice)."""


@dataclasses.dataclass(kw_only=True, eq=False)
class Sheet:
    """What is on the screen of the labels of one case.

    Args:
        viewer: The viewer.
        case: The case.
        labels: Layer of the labels.
        marks: Layer of the prompts' marks; one that was removed is added again when there is something to mark.
        state: Objects, prompts and history.
        key: Hash of the scan.
        current: Label of the object that is edited.
        expected: Labels that edits on their way will use -> how many of them.
    """

    viewer: napari.components.ViewerModel
    case: Case
    labels: Labels
    marks: Points
    state: EditingState
    key: str
    current: int = 1
    expected: Counter[int] = dataclasses.field(default_factory=Counter)

    def free_label(self) -> int:
        """The lowest label of no object, and of none that is on its way."""
        taken = {item.label for item in self.state.objects} | set(+self.expected)
        return next(label for label in itertools.count(1) if label not in taken)

    def labels_for(self, count: int) -> tuple[int, ...]:
        """All labels that objects may get that are taken over: their own if they are free, else the lowest free ones.

        Args:
            count: The number of objects.
        """
        taken = [item.label for item in self.state.objects] + list(+self.expected)
        return tuple(range(1, max(taken, default=0) + count + 1))

    def exists(self, label: int) -> bool:
        """Whether an object is there, or on its way.

        Args:
            label: Its label.
        """
        return self.expected[label] > 0 or any(item.label == label for item in self.state.objects)

    def show(self, change: Change, state: EditingState) -> None:
        """Draw a change: nothing but its box is written again.

        Args:
            change: What changed.
            state: How things stand after it.
        """
        grid = self.case.source.grid
        if change.labels.size:
            self.labels.data[grid.layer_box(change.lower, change.upper)] = grid.to_layer(change.labels)
            self.labels.refresh(extent=False)
        self.take(state)

    def take(self, state: EditingState) -> None:
        """Show the objects and prompts of a state.

        Args:
            state: The state.
        """
        former, self.state = self.state, state
        if former.objects != state.objects or former is state:
            self._color()
        if (former.objects, former.voxels) != (state.objects, state.voxels) or former is state:
            self._describe()
        self.draw_marks()

    def choose(self, label: int) -> None:
        """Edit another object.

        Args:
            label: The object.
        """
        self.current = label
        self.labels.selected_label = label

    def choose_any(self) -> None:
        """Edit the first object if the one that was edited is gone."""
        if self.state.objects and not self.exists(self.current):
            self.choose(self.state.objects[0].label)

    def draw_marks(self, path: npt.NDArray[np.float64] | None = None, *, positive: bool = True) -> None:
        """Mark the prompts, and a path that is being drawn.

        Args:
            path: Layer indices (N, 3).
            positive: Colour of the path.
        """
        grid = self.case.source.grid
        marked = [
            (prompt_marks(p, grid), getattr(p, "positive", True)) for ps in self.state.prompts.values() for p in ps
        ]
        if path is not None:
            marked.append((path, positive))
        marked = [(points, sign) for points, sign in marked if len(points)]
        points = np.concatenate([points for points, _ in marked]) if marked else np.zeros((0, 3))
        colors = [POSITIVE if sign else NEGATIVE for points, sign in marked for _ in points]
        if self.marks not in self.viewer.layers:
            if not len(points):
                return
            self.marks = _add_marks(self.viewer, self.case)
        self.marks.selected_data = set()
        self.marks.data = points
        if colors:
            self.marks.face_color = colors

    def _color(self) -> None:
        from napari.utils.colormaps import DirectLabelColormap

        colors: dict[int | None, tuple[float, ...]] = {None: (0.9, 0.6, 0.0, 1.0), 0: (0.0, 0.0, 0.0, 0.0)}
        for item in self.state.objects:
            colors[item.label] = (*(channel / 255 for channel in item.color), 1.0)
        self.labels.colormap = DirectLabelColormap(color_dict=colors)

    def _describe(self) -> None:
        volumes = self.state.volumes_ml()
        self.labels.features = {
            "index": [0, *(item.label for item in self.state.objects)],
            "name": ["background", *(item.name for item in self.state.objects)],
            "code": ["", *(item.code for item in self.state.objects)],
            "volume_ml": [np.nan, *(volumes[item.label] for item in self.state.objects)],
        }


def make_sheet(
    viewer: napari.components.ViewerModel,
    case: Case,
    labelmap: npt.NDArray[np.uint16],
    state: EditingState,
    *,
    key: str,
) -> Sheet:
    """Add the layers of a case that is to be labelled.

    Args:
        viewer: The viewer.
        case: The case.
        labelmap: Labels in layer order.
        state: How the session stands.
        key: Hash of the scan.
    """
    labels = viewer.add_labels(
        labelmap,
        name=f"labels: {case.layer.name}",
        opacity=_OPACITY,
        metadata=result_layers.result_metadata(case.layer, "labels"),
        **result_layers.placing(case.layer),
    )
    sheet = Sheet(viewer=viewer, case=case, labels=labels, marks=_add_marks(viewer, case), state=state, key=key)
    sheet.take(state)
    sheet.choose(state.objects[0].label if state.objects else 1)
    return sheet


def _add_marks(viewer: napari.components.ViewerModel, case: Case) -> Points:
    """Add an empty layer of marks; the active layer stays."""
    spacing = float(np.min(np.abs(case.layer.scale) * mm_per_unit(case.layer.units)))
    active = viewer.layers.selection.active
    marks = viewer.add_points(
        np.zeros((0, 3)),
        name=f"prompts: {case.layer.name}",
        size=min(max(_MARK_MM / spacing, 1.0), _MAX_MARK_VOXELS),
        border_width=0,
        metadata=result_layers.result_metadata(case.layer, "prompts"),
        **result_layers.placing(case.layer),
    )
    viewer.layers.selection.active = active
    return marks
