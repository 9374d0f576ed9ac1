"""Registers the Segment Editor effect COLIPRI; a hidden module, as Slicer asks of effects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModule


class SegmentEditorColipri(ScriptedLoadableModule):
    """What Slicer knows of the module that brings the effect."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "SegmentEditorColipri"
        parent.categories = ["Segmentation"]
        parent.dependencies = ["Segmentations", "Colipri"]
        parent.contributors = ["The napari-colipri developers"]
        parent.hidden = True
        parent.helpText = "Segment Editor effect that grows a segment from clicks; see the module COLIPRI."
        slicer.app.connect("startupCompleted()", self.register)

    def register(self) -> None:
        """Make the effect known to the Segment Editor."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        effect = effects.qSlicerSegmentEditorScriptedEffect(None)
        source = Path(__file__).parent / "SegmentEditorColipriLib" / "SegmentEditorEffect.py"
        effect.setPythonSource(source.as_posix())
        effect.self().register()
