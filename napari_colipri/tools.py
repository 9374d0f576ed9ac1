"""Prompts drawn with the mouse on a slice of any plane: what was drawn, in the layer's own indices, becomes RAS mm."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.prompts import Box
from colipri_core.prompts import Lasso
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.prompts import Prompt
from colipri_core.prompts import Scribble
from colipri_core.prompts import SpatialPrompt
from napari_colipri.geometry import LayerGrid

if TYPE_CHECKING:
    from napari.layers import Labels

PROMPT_TOOLS = ("point", "scribble", "box", "lasso")
"""Tools that ask the model."""

BRUSH_TOOLS = {"brush": "paint", "eraser": "erase"}
"""Tools of napari's labels layer, by the mode they switch it to."""

_EDGE_SAMPLES = 12
_MIN_LASSO_CORNERS = 3

Path = npt.NDArray[np.float64]
"""Positions (N, 3) in continuous layer indices."""


def drawn_prompt(tool: str, path: Path, grid: LayerGrid, *, positive: bool) -> SpatialPrompt | None:
    """The prompt that a drawn path means; None if it is too short for the tool.

    Args:
        tool: One of `PROMPT_TOOLS`.
        path: Where the mouse went.
        grid: How the volume lies in the layer.
        positive: Whether it shows what belongs to the object.
    """
    r = grid.layer_to_ras(path)
    if tool == "point":
        return Point(ras=_position(r[-1]), positive=positive)
    if tool == "box":
        return Box(lower_ras=_position(r[0]), upper_ras=_position(r[-1]), positive=positive)
    positions = tuple(_position(place) for place in r)
    if tool == "scribble":
        return Scribble(ras=positions, positive=positive)  # as wide as its default; every voxel it crosses counts
    distinct = len(np.unique(np.round(path, 3), axis=0))
    return Lasso(ras=positions, positive=positive) if distinct >= _MIN_LASSO_CORNERS else None


def prompt_marks(prompt: Prompt, grid: LayerGrid) -> Path:
    """Positions at which a prompt is marked in the layer: along its path, or along the edges of a box.

    Args:
        prompt: The prompt; a phrase has no marks.
        grid: How the volume lies in the layer.
    """
    if isinstance(prompt, Phrase):
        return np.zeros((0, 3))
    if isinstance(prompt, Point):
        return grid.ras_to_layer([prompt.ras])
    if isinstance(prompt, Box):
        return _edges(*grid.ras_to_layer([prompt.lower_ras, prompt.upper_ras]))
    return grid.ras_to_layer(prompt.ras)


class Pen:
    """Follows the left mouse button on a labels layer while a prompt tool is chosen.

    Args:
        to_layer: Viewer position -> continuous layer index.
        moved: Called with the path so far.
        finished: Called with the whole path.
    """

    def __init__(
        self,
        to_layer: Callable[[Any], Path],
        moved: Callable[[Path], None],
        finished: Callable[[Path], None],
    ) -> None:
        self.enabled = False
        self._to_layer = to_layer
        self._moved = moved
        self._finished = finished

    def __call__(self, layer: Labels, event: Any) -> Iterator[None]:
        """Napari calls this for each press; what follows the yields is called as the mouse moves."""
        if not self.enabled or event.button != 1 or event.modifiers or len(event.dims_displayed) != 2:
            return
        path = [self._to_layer(event.position)]
        self._moved(np.array(path))
        yield
        while event.type == "mouse_move":
            path.append(self._to_layer(event.position))
            self._moved(np.array(path))
            yield
        self._finished(np.array(path))


def _edges(start: Path, stop: Path) -> Path:
    """Samples along the edges of the box between two corners."""
    share = np.linspace(0, 1, _EDGE_SAMPLES)
    pieces = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        for first in (0, 1):
            for second in (0, 1):
                edge = np.repeat(np.zeros((1, 3)), _EDGE_SAMPLES, axis=0)
                edge[:, axis], edge[:, others[0]], edge[:, others[1]] = share, first, second
                pieces.append(start + edge * (stop - start))
    return np.unique(np.concatenate(pieces), axis=0)


def _position(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    r, a, s = (float(value) for value in values)
    return r, a, s
