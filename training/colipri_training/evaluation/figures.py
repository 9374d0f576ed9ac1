"""Drawings of an evaluation as SVG text: ROC curves and reliability diagrams, a panel a finding, models overlaid."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = Mapping[str, Any]

_COLUMNS = 6
_PANEL = 1.55
_COLORS = ("#1f6feb", "#d1570a", "#2a8f4a", "#8b4fc4", "#b8860b", "#c2255c")
# A fixed salt gives elements the same names in every run, so that equal figures are equal files.
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "colipri", "font.size": 7, "axes.linewidth": 0.6}


def roc_curves(rows: Mapping[str, Sequence[Row]]) -> str:
    """Draw ROC curves.

    Args:
        rows: For each model, the rows of its findings; those without a "roc" leave the panel empty.
    """

    def draw(axes: Axes, row: Row, color: str) -> None:
        if "roc" in row:
            axes.plot(np.linspace(0, 1, len(row["roc"])), row["roc"], color=color, linewidth=1)

    return _panels(rows, draw, x="false positive rate", y="sensitivity")


def reliability_diagrams(rows: Mapping[str, Sequence[Row]]) -> str:
    """Draw predicted against observed frequency; the area of a point is that of its share of the cases.

    Args:
        rows: For each model (or "before" and "after"), the rows of its findings with "reliability".
    """

    def draw(axes: Axes, row: Row, color: str) -> None:
        points = row.get("reliability", ())
        if points:
            total = sum(point["cases"] for point in points)
            x, y = ([point[name] for point in points] for name in ("predicted", "observed"))
            axes.plot(x, y, color=color, linewidth=0.7)
            axes.scatter(x, y, s=[60 * point["cases"] / total for point in points], color=color)

    return _panels(rows, draw, x="predicted", y="observed")


def _panels(rows: Mapping[str, Sequence[Row]], draw: Callable[[Axes, Row, str], None], *, x: str, y: str) -> str:
    names = list(dict.fromkeys(row["name"] for table in rows.values() for row in table))
    if not names:
        return ""
    height = -(-len(names) // _COLUMNS)
    with mpl.rc_context(_STYLE):
        inches = height * (_PANEL + 0.2) + 0.7
        figure = Figure(figsize=(_COLUMNS * _PANEL, inches))
        margins = {"left": 0.05, "right": 0.99, "top": 1 - 0.5 / inches, "bottom": 0.4 / inches}
        figure.subplots_adjust(**margins, wspace=0.25, hspace=0.45)
        panels = figure.subplots(height, _COLUMNS, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.5, linestyle=":")
            for color, table in zip(_colors(len(rows)), rows.values(), strict=True):
                row = next((row for row in table if row["name"] == name), None)
                if row is not None:
                    draw(axes, row, color)
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=(0, 1), yticks=(0, 1), aspect="equal")
            axes.set_title(name, fontsize=6.5)
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        figure.supxlabel(x, fontsize=7)
        figure.supylabel(y, fontsize=7)
        handles = [mpl.lines.Line2D([], [], color=color) for color in _colors(len(rows))]
        figure.legend(handles, list(rows), loc="upper left", ncols=len(rows), frameon=False)
        return _svg(figure)


def _colors(count: int) -> list[str]:
    return [_COLORS[index % len(_COLORS)] for index in range(count)]


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(r"^.*?(?=<svg)", "", stream.getvalue(), flags=re.DOTALL)
