"""Segment Editor effect: a click in a slice grows the selected segment, Ctrl and click takes away, by ColipriLib.

The answer goes through the session, as a prompt of the module's own panel does, so that both share one history; the
effect's masking settings do not apply, the objects' own locks and "Keep other objects" do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """Grows the selected segment from clicks."""

    def __init__(self, scriptedEffect: Any) -> None:
        scriptedEffect.name = "COLIPRI"
        scriptedEffect.perSegment = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)

    def clone(self) -> Any:
        """Another instance, for another editor."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        cloned = effects.qSlicerSegmentEditorScriptedEffect(None)
        cloned.setPythonSource(Path(__file__).as_posix())
        return cloned

    def icon(self) -> Any:
        """The picture on the effect's button."""
        return qt.QIcon(str(Path(__file__).parent / "SegmentEditorEffect.png"))

    def helpText(self) -> str:
        """What is shown above the effect's options."""
        return "Click in a slice: the segment grows from there. Ctrl and click: what is there does not belong to it."

    def setupOptionsFrame(self) -> None:
        """Undo and redo of the session, which know the prompts as well."""
        for name in ("Undo", "Redo"):
            button = qt.QPushButton(f"{name} click")
            button.clicked.connect(lambda *_, name=name: self._step(name.lower()))
            self.scriptedEffect.addOptionsWidget(button)

    def processInteractionEvents(self, callerInteractor: Any, eventId: int, viewWidget: Any) -> bool:
        """Answer clicks in slice views; everything else goes on to Slicer."""
        if eventId != vtk.vtkCommand.LeftButtonPressEvent or viewWidget.className() != "qMRMLSliceWidget":
            return False
        place = self.xyToRas(callerInteractor.GetEventPosition(), viewWidget)
        positive = not callerInteractor.GetControlKey()
        self._act(lambda core: self._prompt(core, place, positive=positive))
        return True

    def _step(self, name: str) -> None:
        self._act(lambda core: getattr(core.labelling, name)())

    def _act(self, action: Any) -> None:
        logic = slicer.util.getModuleLogic("Colipri")
        widget = slicer.util.getModuleWidget("Colipri")
        if not widget.ready():
            return
        with slicer.util.tryWithErrorDisplay("COLIPRI could not do this."):
            action(logic.core())

    def _prompt(self, core: Any, place: Any, *, positive: bool) -> None:
        parameters = self.scriptedEffect.parameterSetNode()
        core.labelling.prompt_at(
            place,
            volume=parameters.GetSourceVolumeNode(),
            segmentation=parameters.GetSegmentationNode(),
            segment=parameters.GetSelectedSegmentID(),
            positive=positive,
        )
