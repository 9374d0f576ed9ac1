"""An engine without a model, whose answers a test can hold back; and the module's controllers on it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodes
import numpy as np
import slicer

from colipri_core.cases import Match
from colipri_core.cases import RegionMask
from colipri_core.editing.change import Change
from colipri_core.editing.change import EditingState
from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.edits import Edit
from colipri_core.engine import Capabilities
from colipri_core.errors import CapabilityError
from colipri_core.findings import EvidenceMap
from colipri_core.findings import Finding
from colipri_core.findings import Findings
from colipri_core.progress import CancelToken
from colipri_core.prompts import Point
from colipri_core.prompts.crop import Crop
from colipri_core.provenance import ModelCard
from colipri_core.provenance import Provenance
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_core.vocabulary.structures import STRUCTURES
from colipri_core.volume import Volume
from ColipriLib.client import Client
from ColipriLib.module_logic import ModuleLogic
from ColipriLib.scene import segments

CARD = ModelCard(name="scripted", sha256="0" * 64, kind="scripted", training_data="none.", synthetic=True, licence="x")
PROVENANCE = Provenance(model=CARD, preprocessing={}, versions={}, device="cpu", timings={})
SHAPE = (24, 20, 16)


class ScriptedSession:
    """A real editor of labels; each point is answered with the 5 x 5 x 5 voxels around it."""

    def __init__(self, engine: ScriptedEngine, volume: Volume, autosave: Path | None) -> None:
        self.volume = volume
        self.editor = LabelEditor(volume, autosave=autosave)
        self._engine = engine
        self.undo, self.redo = self.editor.undo, self.editor.redo

    def classify(self, findings: Any = None, *, cancel: CancelToken, **_: Any) -> Findings:
        if not self._engine.capabilities.free_text:
            raise CapabilityError("This model reads no text.")
        self._engine.hold(cancel)
        names = self._engine.capabilities.findings if findings is None else findings
        items = tuple(Finding(name=name, code="", probability=0.5, calibrated=False) for name in names)
        return Findings(case=self.volume.name, items=items, provenance=PROVENANCE)

    def evidence(self, text: str, *, cancel: CancelToken, **_: Any) -> EvidenceMap:
        self._engine.hold(cancel)
        return EvidenceMap(
            text=text,
            values=np.linspace(0.0, 1.0, self.volume.voxels.size, dtype=np.float32).reshape(self.volume.shape),
            geometry=self.volume.geometry,
            peak_ras=self.volume.geometry.center,
            peak_value=1.0,
            provenance=PROVENANCE,
        )

    def segment(self, *, cancel: CancelToken, **_: Any) -> Segmentation:
        self._engine.hold(cancel)
        labelmap = (np.asarray(self.volume.voxels) > 0).astype(np.uint8)
        heart = (Segment(label=1, name="Heart"),)
        return Segmentation(labelmap=labelmap, geometry=self.volume.geometry, segments=heart, provenance=PROVENANCE)

    def prompt(self, prompt: Point, *, label: int, policy: Any, cancel: CancelToken, **_: Any) -> Change:
        asked = self.editor.ask(prompt, label=label, policy=policy)
        self._engine.hold(cancel)
        index = np.rint(self.volume.geometry.world_to_index(prompt.ras)).astype(int)
        if not all(0 <= at < size for at, size in zip(index, self.volume.shape, strict=True)):
            msg = "The point lies outside the volume."
            raise ValueError(msg)
        mask = asked.previous.on_grid(self.volume.shape)
        mask[tuple(slice(max(0, at - 2), at + 3) for at in index)] = True
        return self.editor.answer(asked, Crop.around(mask), model=CARD)

    def similar(self, store: Any, k: int, *, region: RegionMask | None, **_: Any) -> list[Match]:
        self._engine.regions.append(region)
        return []

    def edit(self, edit: Edit) -> Change:
        return self.editor.apply(edit)

    @property
    def editing(self) -> EditingState:
        return self.editor.state

    @property
    def segmentation(self) -> Segmentation:
        return Segmentation(labelmap=self.editor.labelmap, geometry=self.volume.geometry, segments=self.editor.segments)

    def edit_log(self) -> dict[str, Any]:
        return {"actions": [step.action for step in self.editor.steps]}

    def close(self) -> None:
        self.editor.close()


class ScriptedEngine:
    """Opens scripted sessions; while `gate` is closed, whatever takes long waits, and can be cancelled."""

    card = CARD
    device = "cpu"
    stores = ("lab",)

    def __init__(self) -> None:
        self.capabilities = Capabilities(findings=("Nodule", "Effusion"), free_text=True, structures=STRUCTURES[:1])
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()
        self.regions: list[RegionMask | None] = []
        self.sessions: list[ScriptedSession] = []

    def open(self, volume: Volume, *, autosave: Path | None = None) -> ScriptedSession:
        self.sessions.append(ScriptedSession(self, volume, autosave))
        return self.sessions[-1]

    def store(self, name: str) -> str:
        return name

    def hold(self, cancel: CancelToken) -> None:
        self.entered.set()
        while not self.gate.wait(0.005):
            cancel.check()

    def close(self) -> None:
        pass


class Bench:
    """The controllers on a scripted engine, with two CTs, the first of which is chosen."""

    def __init__(self, scene: slicer.vtkMRMLScene, folder: Path) -> None:
        self.engine = ScriptedEngine()
        node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Colipri")
        client = Client(edits_folder=folder, opener=lambda *_: self.engine)  # type: ignore[arg-type, return-value]
        self.logic = ModuleLogic(scene, node, client=client)
        self.labelling = self.logic.labelling
        voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) - 800
        self.first, self.second = (nodes.add_volume(scene, voxels + step, nodes.AFFINE) for step in (0, 1))
        self.logic.desk.choose(self.first)

    @property
    def labels(self) -> np.ndarray:
        """What the labels' node of the chosen CT shows."""
        return segments.read(self.labelling.node, self.logic.desk.volume_node)[0]

    def count(self, label: int) -> int:
        """Voxels of a label in the node."""
        return int(np.count_nonzero(self.labels == label))

    def click(self, *index: int) -> None:
        """Ask about a voxel."""
        place = self.logic.desk.take().volume.geometry.index_to_world(index)
        assert self.labelling.prompt(Point(ras=tuple(float(value) for value in place)))

    def paint(self, box: tuple[slice, ...], label: int) -> None:
        """Give voxels to a segment as the Segment Editor does, without a word to the module."""
        labelmap, described = segments.read(self.labelling.node, self.logic.desk.volume_node)
        labelmap[box] = label
        segments.write(self.labelling.node, self.logic.desk.volume_node, labelmap, described)

    @contextlib.contextmanager
    def running(self, start: Callable[[], object]) -> Iterator[None]:
        """Start something whose answer is held back while the body runs, and finish it."""
        self.engine.gate.clear()
        self.engine.entered.clear()
        try:
            start()
            ending = time.monotonic() + 20
            while not self.engine.entered.is_set():
                assert time.monotonic() < ending
                self.logic.poll()
                time.sleep(0.002)
            yield
        finally:
            self.engine.gate.set()
        self.finish()

    def finish(self) -> None:
        """Wait until nothing runs."""
        self.logic.wait(20)
