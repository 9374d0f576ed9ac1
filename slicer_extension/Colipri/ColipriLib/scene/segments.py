"""Segmentation nodes that show a labelmap of the core: one shared layer, coded and coloured segments, edits in a box.

All segments of such a node share one binary labelmap image whose values are the core's labels, so that an edit writes
the voxels of its box and nothing else. The Segment Editor may part, crop or renumber that image at any time; then the
next write makes it anew. Which segment is which label stays with the segment, as a tag.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util import numpy_support

from colipri_core.segmentation import Segment
from ColipriLib.scene import volumes

Labels = npt.NDArray[np.unsignedinteger]

LABEL_TAG = "Colipri.Label"
TERMINOLOGY = "Segmentation category and type - DICOM master list"
_BINARY = "Binary labelmap"
_TISSUE = "SCT:85756007"
"""What Slicer calls a segment that nobody has coded."""

_ANATOMY = "SCT^123037004^Anatomical Structure"


def add_segmentation(
    scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLScalarVolumeNode, name: str
) -> slicer.vtkMRMLSegmentationNode:
    """Add an empty segmentation on a volume's grid, under the same parent transform.

    Args:
        scene: The scene.
        volume: The volume.
        name: Name of the node; made unique.
    """
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
    node.CreateDefaultDisplayNodes()
    place_on(node, volume)
    return node


def place_on(node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Give a segmentation a volume's grid and parent transform.

    Args:
        node: The segmentation.
        volume: The volume.
    """
    # In this order: the grid is stored as seen from the segmentation, and saved files are written on it.
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)


def write(
    node: slicer.vtkMRMLSegmentationNode,
    volume: slicer.vtkMRMLScalarVolumeNode,
    labelmap: Labels,
    segments: Sequence[Segment],
) -> None:
    """Show a whole labelmap; segments that are not among those given are removed.

    Args:
        node: The segmentation.
        volume: The volume whose grid the labelmap has.
        labelmap: `[i, j, k]`.
        segments: What its values mean.
    """
    segmentation = node.GetSegmentation()
    largest = max((segment.label for segment in segments), default=0)
    image = _image(labelmap.astype(np.uint8 if largest < 256 else np.uint16), volume)
    was_modifying = node.StartModify()
    segmentation.SetSourceRepresentationName(_BINARY)
    describe(node, segments)
    for segment in segments:
        item = segmentation.GetSegment(segment_ids(node)[segment.label])
        item.RemoveAllRepresentations()
        item.AddRepresentation(_BINARY, image)
        item.SetLabelValue(segment.label)
    node.EndModify(was_modifying)
    _tell(node)


def write_box(
    node: slicer.vtkMRMLSegmentationNode, lower: Sequence[int], labels: Labels, segments: Sequence[Segment]
) -> bool:
    """Show the labels of a box, if the node still has the one layer that `write` made.

    Args:
        node: The segmentation.
        lower: Voxel index of the box's first corner.
        labels: Its labels `[i, j, k]`, all of them of these segments.
        segments: All segments there are now.

    Returns:
        False if it has not: nothing was written, and the whole is to be written anew.
    """
    image = _shared_image(node, segments)
    if image is None:
        return False
    describe(node, segments)
    if labels.size:
        box = tuple(slice(start, start + size) for start, size in zip(lower, labels.shape, strict=True))
        volumes.scalars_of(image)[box[::-1]] = labels.transpose(2, 1, 0)
        image.GetPointData().GetScalars().Modified()
        image.Modified()
        _tell(node)
    return True


def describe(node: slicer.vtkMRMLSegmentationNode, segments: Sequence[Segment]) -> None:
    """Make the node's segments those given: names, codes and colours.

    Args:
        node: The segmentation.
        segments: The segments.
    """
    segmentation = node.GetSegmentation()
    wanted = {segment.label: segment for segment in segments}
    kept = {label: item for label, item in segment_ids(node).items() if label in wanted}
    for item in list(segmentation.GetSegmentIDs()):
        if item not in kept.values():
            segmentation.RemoveSegment(item)
    for label, segment in wanted.items():
        red, green, blue = (value / 255.0 for value in segment.color)
        if label not in kept:
            kept[label] = segmentation.AddEmptySegment(f"Colipri_{label}", segment.name, (red, green, blue))
            segmentation.GetSegment(kept[label]).SetTag(LABEL_TAG, str(label))
        item = segmentation.GetSegment(kept[label])
        if item.GetName() != segment.name:
            item.SetName(segment.name)
        if tuple(round(value * 255) for value in item.GetColor()) != tuple(segment.color):
            item.SetColor(red, green, blue)
        tag, entry = slicer.vtkSegment.GetTerminologyEntryTagName(), terminology_entry(segment)
        if entry and _tag(item, tag) != entry:
            item.SetTag(tag, entry)


def read(
    node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode, *, taken: Collection[int] = ()
) -> tuple[Labels, tuple[Segment, ...]]:
    """Read what a segmentation shows, on a volume's grid; where segments overlap, the last one counts.

    Args:
        node: A segmentation, maybe changed in the Segment Editor.
        volume: The volume.
        taken: Labels that are no longer free, besides those of segments.

    Returns:
        uint16 labelmap `[i, j, k]`, and its segments; those that had no label were given one.
    """
    segmentation = node.GetSegmentation()
    kji = np.zeros(volume.GetImageData().GetDimensions()[::-1], dtype=np.uint16)
    for label, item in sorted(_with_labels(node, taken).items()):
        mask = slicer.vtkOrientedImageData()
        if node.GetBinaryLabelmapRepresentation(item, mask) and not mask.IsEmpty():
            _put(kji, mask, volume, label)
    found = tuple(_segment(segmentation.GetSegment(item), label) for label, item in sorted(segment_ids(node).items()))
    return kji.transpose(2, 1, 0), found


def segment_ids(node: slicer.vtkMRMLSegmentationNode) -> dict[int, str]:
    """Label -> segment id, of the segments that have a label."""
    segmentation = node.GetSegmentation()
    tags = {item: _tag(segmentation.GetSegment(item), LABEL_TAG) for item in segmentation.GetSegmentIDs()}
    return {int(tag): item for item, tag in tags.items() if tag.isdigit()}


def label_of(node: slicer.vtkMRMLSegmentationNode, segment_id: str, *, taken: Collection[int] = ()) -> int:
    """The label of a segment; one that has none is given the next that is free.

    Args:
        node: The segmentation.
        segment_id: Its id.
        taken: Labels that are no longer free, besides those of segments.

    Raises:
        KeyError: If there is no such segment.
    """
    return {item: label for label, item in _with_labels(node, taken).items()}[segment_id]


def free_label(taken: Collection[int]) -> int:
    """The lowest label that is free.

    Args:
        taken: The others.
    """
    return next(number for number in range(1, len(taken) + 2) if number not in taken)


def stamp(node: slicer.vtkMRMLSegmentationNode) -> int:
    """A number that grows whenever voxels or segments change, to tell edits of others from one's own."""
    segmentation = node.GetSegmentation()
    times = [segmentation.GetMTime()]
    for item in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(item)
        image = segment.GetRepresentation(_BINARY)
        times += [segment.GetMTime(), image.GetMTime() if image is not None else 0]
    return max(times)


def show(node: slicer.vtkMRMLSegmentationNode, labels: Iterable[int], *, shown: bool) -> None:
    """Show or hide segments.

    Args:
        node: The segmentation.
        labels: Their labels.
        shown: Whether to show them.
    """
    ids = segment_ids(node)
    for label in labels:
        if label in ids:
            node.GetDisplayNode().SetSegmentVisibility(ids[label], shown)


def shown_labels(node: slicer.vtkMRMLSegmentationNode) -> frozenset[int]:
    """Labels of the segments that are visible."""
    display = node.GetDisplayNode()
    return frozenset(label for label, item in segment_ids(node).items() if display.GetSegmentVisibility(item))


def terminology_entry(segment: Segment) -> str:
    """The segment's code as Slicer writes a terminology entry; empty without a code.

    Args:
        segment: Its code is "SCHEME:VALUE", such as "SCT:39607008".
    """
    scheme, _, value = segment.code.partition(":")
    if not value:
        return ""
    return f"{TERMINOLOGY}~{_ANATOMY}~{scheme}^{value}^{segment.name}~^^~~^^~^^"


def code_of(entry: str) -> str:
    """The code of a terminology entry, "SCHEME:VALUE"; empty if it has none but Slicer's default.

    Args:
        entry: What Slicer keeps with a segment.
    """
    parts = entry.split("~")
    scheme, _, rest = parts[2].partition("^") if len(parts) > 2 else ("", "", "")
    value = rest.partition("^")[0]
    code = f"{scheme}:{value}"
    return code if scheme and value and code != _TISSUE else ""


def _image(labelmap: Labels, volume: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkOrientedImageData:
    kji = np.ascontiguousarray(labelmap.transpose(2, 1, 0))
    image = slicer.vtkOrientedImageData()
    image.SetExtent(0, kji.shape[2] - 1, 0, kji.shape[1] - 1, 0, kji.shape[0] - 1)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(kji.ravel(), deep=True))
    image.SetImageToWorldMatrix(volumes.as_matrix(volumes.ijk_to_ras(volume)))
    return image


def _shared_image(
    node: slicer.vtkMRMLSegmentationNode, segments: Sequence[Segment]
) -> slicer.vtkOrientedImageData | None:
    """The one image of all segments, if labels are still its values and no segment is new."""
    segmentation, ids = node.GetSegmentation(), segment_ids(node)
    if len(ids) != segmentation.GetNumberOfSegments() or {segment.label for segment in segments} != set(ids):
        return None
    items = {label: segmentation.GetSegment(item) for label, item in ids.items()}
    images = {id(image): image for item in items.values() if (image := item.GetRepresentation(_BINARY)) is not None}
    whole = len(images) == 1 and all(item.GetRepresentation(_BINARY) is not None for item in items.values())
    if not whole or any(item.GetLabelValue() != label for label, item in items.items()):
        return None
    (image,) = images.values()
    i, j, k = image.GetDimensions()
    reference = _reference_extent(node)
    return image if reference == (0, i - 1, 0, j - 1, 0, k - 1) else None


def _reference_extent(node: slicer.vtkMRMLSegmentationNode) -> tuple[int, ...]:
    parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    text = node.GetSegmentation().GetConversionParameter(parameter)
    reference = slicer.vtkOrientedImageData()
    if not slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, reference, False):
        return ()
    return tuple(reference.GetExtent())


def _tell(node: slicer.vtkMRMLSegmentationNode) -> None:
    """Let views and other representations know that voxels changed."""
    node.GetSegmentation().InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified)


def _with_labels(node: slicer.vtkMRMLSegmentationNode, taken: Collection[int]) -> dict[int, str]:
    """Label -> segment id of all segments; those without a label get the next that is free."""
    segmentation, ids = node.GetSegmentation(), segment_ids(node)
    for item in segmentation.GetSegmentIDs():
        if item not in ids.values():
            label = free_label({*ids, *taken})
            segmentation.GetSegment(item).SetTag(LABEL_TAG, str(label))
            ids[label] = item
    return ids


def _put(kji: Labels, mask: slicer.vtkOrientedImageData, volume: slicer.vtkMRMLScalarVolumeNode, label: int) -> None:
    """Put a segment's voxels into a labelmap; one of another grid is resampled first, as Slicer does (nearest)."""
    expected = volumes.as_matrix(volumes.ijk_to_ras(volume))
    found = slicer.vtkOrientedImageData()
    reference = slicer.vtkOrientedImageData()
    reference.SetExtent(0, kji.shape[2] - 1, 0, kji.shape[1] - 1, 0, kji.shape[0] - 1)
    reference.SetImageToWorldMatrix(expected)
    resample = slicer.vtkOrientedImageDataResample
    if not resample.ResampleOrientedImageToReferenceOrientedImage(mask, reference, found, False, False):
        msg = "The voxels of a segment could not be brought onto the grid of the volume."
        raise RuntimeError(msg)
    kji[volumes.scalars_of(found) > 0] = label


def _segment(item: slicer.vtkSegment, label: int) -> Segment:
    red, green, blue = (round(value * 255) for value in item.GetColor())
    code = code_of(_tag(item, slicer.vtkSegment.GetTerminologyEntryTagName()))
    return Segment(label=label, name=item.GetName() or f"Object {label}", code=code, color=(red, green, blue))


def _tag(item: slicer.vtkSegment, name: str) -> str:
    value = vtk.reference("")
    return str(value) if item.GetTag(name, value) else ""
