"""What was computed for one CT layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from colipri_core.listing import FindingRow
from colipri_core.provenance import ModelCard
from napari_colipri.backend import ModelChoice
from napari_colipri.backend import Request
from napari_colipri.results import StructureRow
from napari_colipri.source import CaseSource

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.layers import Labels


@dataclasses.dataclass(kw_only=True, eq=False)
class Case:
    """What was computed for one CT layer, as it lies and is now.

    Args:
        layer: The CT layer.
        source: The volume as the engine got it.
        chosen: Says which model is chosen.
        edits: Where its edits are saved; None for the usual folder.
        rows: Findings, most probable first.
        findings_model: Model of the findings.
        structures: Outlined structures.
        structures_model: Model that outlined them.
        hidden: Labels of structures that are not shown.
        heat: Phrase -> its heat map's layer, oldest first.
        heat_model: Model of the heat maps.
        labels: Layer of the structures.
        warnings: What results said of the input.
    """

    layer: Image
    source: CaseSource
    chosen: Callable[[], ModelChoice]
    edits: Path | None = None
    rows: tuple[FindingRow, ...] = ()
    findings_model: ModelCard | None = None
    structures: tuple[StructureRow, ...] = ()
    structures_model: ModelCard | None = None
    hidden: frozenset[int] = frozenset()
    heat: dict[str, Image] = dataclasses.field(default_factory=dict)
    heat_model: ModelCard | None = None
    labels: Labels | None = None
    warnings: tuple[str, ...] = ()

    @property
    def question(self) -> Request:
        """The chosen model and the volume: for what the model is asked."""
        return Request(choice=self.chosen(), volume=self.source.volume, edits=self.edits)

    @property
    def request(self) -> Request:
        """The volume with whichever model is loaded: for edits, which ask it nothing."""
        return dataclasses.replace(self.question, any_model=True)

    @property
    def shown(self) -> frozenset[str]:
        """Phrases whose heat map is visible."""
        return frozenset(text for text, layer in self.heat.items() if layer.visible)
