"""Text nodes: the draft report, and the log of edits that lets undo go on after a scene is opened again."""

from __future__ import annotations

import slicer

_UTF8 = "utf-8"


def write_text(
    scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLTextNode | None, name: str, text: str
) -> slicer.vtkMRMLTextNode:
    """Put text into a node; one is added if there is none yet.

    Args:
        scene: The scene.
        node: The node, or None.
        name: Its name.
        text: The text.
    """
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLTextNode", name)
    node.SetName(name)
    node.SetText(text)
    node.SetForceCreateStorageNode(slicer.vtkMRMLTextNode.CreateStorageNodeAlways)
    return node


def hide(node: slicer.vtkMRMLTextNode) -> None:
    """Keep a node out of the lists people choose from; it is saved all the same."""
    node.SetHideFromEditors(True)
