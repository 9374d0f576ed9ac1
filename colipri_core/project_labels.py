"""The labels of a project's cases as training reads them: from journals of edits, or labelmaps beside the scans."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from colipri_core.editing.editor import LabelEditor
from colipri_core.editing.journal import JournalReader
from colipri_core.editing.journal import journal_path
from colipri_core.errors import AutosaveError
from colipri_core.errors import UnreadableInputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.io import read_labelmap
from colipri_core.io import read_volume
from colipri_core.io.names import derivative_case
from colipri_core.io.suffixes import LABELMAP_SUFFIXES
from colipri_core.io.suffixes import without_suffix
from colipri_core.project import LabelProject
from colipri_core.project import is_labelmap
from colipri_core.resample import resample
from colipri_core.segmentation import Segmentation
from colipri_core.volume import Volume


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LabelledCase:
    """A scan and its labels.

    Args:
        name: The case in its project.
        volume: The CT.
        labels: What was outlined, on the volume's own grid.
    """

    name: str
    volume: Volume
    labels: Segmentation


def labelled_case(project: LabelProject, name: str) -> LabelledCase | None:
    """Return a case of a project with its labels; None if it has none, or no voxel of it is labelled.

    The journal of edits counts, as long as it exists: it is what the labeller saw last. Otherwise a labelmap saved in
    the project's folder under the case's name does: `CASE_dseg.*`, `CASE_*_dseg.*`, `CASE*.seg.nrrd`, or the BIDS name
    `sub-CASE_..._dseg.*`. A journal is only read, so a viewer may have it open.

    Args:
        project: The project.
        name: A case of it.

    Raises:
        KeyError: If there is no such case.
        UnreadableInputError: If scan or labels cannot be read.
        UnsupportedVolumeError: If a labelmap lies nowhere near the scan.
    """
    volume = read_volume(project.path(name))
    labels = _from_journal(project, volume) or _from_file(project, name, volume)
    if labels is None or not labels.labelmap.any():
        return None
    return LabelledCase(name=name, volume=volume, labels=labels)


def labelled_cases(project: LabelProject, *, only_done: bool = True) -> tuple[LabelledCase, ...]:
    """Return the labelled cases of a project, in the order of their names.

    Args:
        project: The project.
        only_done: Leave out the cases that are not marked done.

    Raises:
        UnreadableInputError: If no case is left; the message says what to do.
    """
    names = sorted(case.name for case in project.cases if case.mark == "done" or not only_done)
    found = tuple(case for name in names if (case := labelled_case(project, name)) is not None)
    if not found:
        marked = "marked done and " if only_done else ""
        msg = (
            f'Expected cases in "{project.folder.name}" that are {marked}labelled, found none of {len(project.cases)}. '
            "Label some in napari's Project section and press Done."
        )
        raise UnreadableInputError(msg)
    return found


def _from_journal(project: LabelProject, volume: Volume) -> Segmentation | None:
    path = journal_path(project.edits, volume)
    if not path.is_file():
        return None
    editor = LabelEditor(volume)
    try:
        for event in JournalReader(path).read():
            editor.replay(event)
    except (AutosaveError, OSError, IndexError, KeyError, RuntimeError, ValueError) as error:
        msg = f'Cannot read the edits of "{volume.name}" ({error}). Open the case in the viewer, or move them away.'
        raise UnreadableInputError(msg) from error
    return Segmentation(labelmap=editor.labelmap, geometry=volume.geometry, segments=editor.segments)


def _from_file(project: LabelProject, name: str, volume: Volume) -> Segmentation | None:
    path = _labelmap_of(project, name)
    if path is None:
        return None
    labels = read_labelmap(path)
    if labels.geometry == volume.geometry:
        return labels
    # A DICOM SEG holds only the slices that were drawn on, and formats round affines differently.
    labelmap = resample(labels.labelmap, labels.geometry, volume.geometry, order=0)
    if labels.labelmap.any() and not labelmap.any():
        msg = f'Expected the labels "{path.name}" where "{name}" lies, found them elsewhere. Save them again.'
        raise UnsupportedVolumeError(msg)
    return dataclasses.replace(labels, labelmap=labelmap, geometry=volume.geometry)


def _labelmap_of(project: LabelProject, name: str) -> Path | None:
    """The labelmap of a case in the project's folder: the one whose name says least beside the case's; None without.

    A file is of the case that the most of its name names: `scan_2_dseg.nii.gz` is of `scan_2`, not of `scan`.

    Raises:
        UnreadableInputError: If it might be another case's as well.
    """
    cases = [case.name for case in project.cases]
    found = []
    for path in sorted(project.folder.iterdir()):
        named = {case: length for case in cases if (length := _named_by(path, case))}
        if named.get(name, 0) == max(named.values(), default=-1):
            others = [case for case, length in named.items() if length == named[name] and case != name]
            if others:
                msg = (
                    f'Expected labels of one case, found "{path.name}", which may be of "{name}" or "{others[0]}". '
                    "Rename the file after its case, letter by letter."
                )
                raise UnreadableInputError(msg)
            found.append(path)
    return min(found, key=lambda path: (len(without_suffix(path.name)), path.name), default=None)


def _named_by(path: Path, name: str) -> int:
    """How many letters of a labelmap's name name a case; 0 if it is not of that case."""
    if not is_labelmap(path.name) or not path.name.lower().endswith(LABELMAP_SUFFIXES):
        return 0
    case, own = without_suffix(name), without_suffix(path.name)
    bids = f"sub-{derivative_case(case)}"
    named = [text for text in (case, bids) if own == text or own.startswith(f"{text}_")]
    # The case's own name counts more than the BIDS one, which "case 1" and "case1" share.
    return max((2 * len(text) + (text == case) for text in named), default=0)
