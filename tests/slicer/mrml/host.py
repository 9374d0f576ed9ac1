"""The parts of Slicer that modules lean on, wired as the application does it: real scene, real logics, no Qt."""

from __future__ import annotations

import contextlib
import tempfile
import types
from collections.abc import Iterator

import slicer

LOGICS = {
    "volumes": ("Volumes", slicer.vtkSlicerVolumesLogic),
    "segmentations": ("Segmentations", slicer.vtkSlicerSegmentationsModuleLogic),
    "markups": ("Markups", slicer.vtkSlicerMarkupsLogic),
    "transforms": ("Transforms", slicer.vtkSlicerTransformLogic),
    "subjecthierarchy": ("SubjectHierarchy", slicer.vtkSlicerSubjectHierarchyModuleLogic),
}
"""Name in `slicer.modules` -> name the application logic knows it by, and its class."""


@contextlib.contextmanager
def host() -> Iterator[slicer.vtkMRMLScene]:
    """A scene with its logics while the body runs; three slice views' nodes are in it, as in the application."""
    scene = slicer.vtkMRMLScene()
    folder = tempfile.TemporaryDirectory()
    cache, exchange = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
    cache.SetRemoteCacheDirectory(folder.name)  # where scenes in one file are unpacked
    exchange.SetCacheManager(cache)
    scene.SetCacheManager(cache)
    scene.SetDataIOManager(exchange)
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    colors = application.GetColorLogic()
    colors.SetMRMLScene(scene)
    colors.AddDefaultColorNodes()
    application.SetModuleLogic("Colors", colors)
    slicer.modules = types.SimpleNamespace()
    kept = []
    for module, (name, make) in LOGICS.items():
        logic = make()
        logic.SetMRMLScene(scene)
        logic.SetMRMLApplicationLogic(application)
        application.SetModuleLogic(name, logic)
        setattr(slicer.modules, module, types.SimpleNamespace(logic=lambda logic=logic: logic))
        kept.append(logic)
    slicer.mrmlScene = scene
    for view in ("Red", "Green", "Yellow"):
        add_view(scene, view)
    try:
        yield scene
    finally:
        scene.Clear(1)
        kept.clear()
        folder.cleanup()
        del slicer.mrmlScene, slicer.modules


def add_view(scene: slicer.vtkMRMLScene, name: str) -> None:
    """Add the nodes of a slice view; singletons, as in the application, so that a cleared scene keeps them."""
    for kind in ("vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode"):
        node = scene.CreateNodeByClass(kind)
        node.SetSingletonTag(name)
        node.SetLayoutName(name)
        node.SetName(f"{name} {kind}")
        scene.AddNode(node)
