"""What was computed for one CT layer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from colipri_core.listing import FindingRow
from napari_colipri.backend import ModelChoice
from napari_colipri.backend import Request
from napari_colipri.results import StructureRow
from napari_colipri.source import CaseSource

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.layers import Labels


@dataclasses.dataclass(kw_only=True, eq=False)
class Case:
    """What was computed for one CT layer.

    Args:
        layer: The CT layer.
        choice: Model of the findings.
        source: The volume as the engine got it.
        rows: Findings, most probable first.
        structures: Outlined structures.
        hidden: Labels of structures that are not shown.
        heat: Phrase -> its heat map's layer, oldest first.
        labels: Layer of the structures.
        warnings: What results said of the input.
    """

    layer: Image
    choice: ModelChoice
    source: CaseSource
    rows: tuple[FindingRow, ...] = ()
    structures: tuple[StructureRow, ...] = ()
    hidden: frozenset[int] = frozenset()
    heat: dict[str, Image] = dataclasses.field(default_factory=dict)
    labels: Labels | None = None
    warnings: tuple[str, ...] = ()

    @property
    def request(self) -> Request:
        """The model and volume of the case."""
        return Request(choice=self.choice, volume=self.source.volume)

    @property
    def shown(self) -> frozenset[str]:
        """Phrases whose heat map is visible."""
        return frozenset(text for text, layer in self.heat.items() if layer.visible)
