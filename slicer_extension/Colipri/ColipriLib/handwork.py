"""Labels' node and session: what the user changes by hand goes one way, what the session answers goes the other.

The node shows what the session held when it last answered, and what the user has changed since, in the Segment Editor
for instance. So it is looked at when the turn of an act has come, not when the act is asked for: by then the answers
before it are shown. What the user changes while the act runs stays over its answer, and is taken up by the next act.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import slicer

from colipri_core.editing.change import Change
from colipri_core.editing.change import EditingState
from colipri_core.errors import ColipriError
from colipri_core.session import Session
from ColipriLib.case import Case
from ColipriLib.desk import Desk
from ColipriLib.reconcile import Shown
from ColipriLib.reconcile import reconcile
from ColipriLib.scene import segments


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """The labels' node as it was when the turn of an act had come.

    Args:
        node: The node; None if there was none.
        stamp: What `segments.stamp` said of it.
        shown: What it showed, if the user changed it since it was written last.
    """

    node: slicer.vtkMRMLSegmentationNode | None = None
    stamp: int = 0
    shown: Shown | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What came of an act.

    Args:
        change: What it changed.
        state: How the labels stand.
        before: What the node showed; None without a node.
        whole: All labels, where the node needs more than the change.
        refused: What was done by hand and not taken up, in words; the node is to show it no longer.
        error: Why the act failed, after what was done by hand had been taken up.
    """

    change: Change | None
    state: EditingState
    before: Shown | None
    whole: Shown | None
    refused: str = ""
    error: Exception | None = None

    @property
    def after(self) -> Shown:
        """What the node is to show."""
        if self.whole is not None:
            return self.whole
        assert self.before is not None
        labelmap = self.before.labelmap
        if self.change is not None and self.change.labels.size:
            labelmap = labelmap.astype(np.result_type(labelmap, self.change.labels))
            i, j, k = (slice(a, b) for a, b in zip(*self.change.bbox, strict=True))
            labelmap[i, j, k] = self.change.labels
        return Shown(labelmap=labelmap, segments=tuple(item.segment for item in self.state.objects))


def look(desk: Desk, case: Case) -> Seen:
    """Look at the labels' node of a case; to be called on the main thread.

    Args:
        desk: The desk.
        case: The case.
    """
    node = desk.params.node_of("labels", case.node) if desk.scene.IsNodePresent(case.node) else None
    if node is None:
        return Seen()
    shown = None
    if segments.stamp(node) != case.stamp:
        labelmap, described = segments.read(node, case.node, taken=case.labels)
        shown = Shown(labelmap=labelmap, segments=described)
    return Seen(node=node, stamp=segments.stamp(node), shown=shown)


def perform(session: Session, seen: Seen, act: Callable[[], Change | None]) -> Answer:
    """Take up what was done by hand, then act; to be called on the worker.

    Args:
        session: The session.
        seen: The node as it is.
        act: Acts on the session.
    """
    before, refused = seen.shown, ""
    if before is not None:
        refused = reconcile(session, before)
    elif seen.node is not None:
        before = _labels_of(session)
    change, failed = None, None
    try:
        change = act()
    except (ColipriError, ValueError) as error:
        if seen.shown is None:
            raise
        failed = error
    whole = _labels_of(session) if seen.node is None or seen.shown is not None else None
    return Answer(change=change, state=session.editing, before=before, whole=whole, refused=refused, error=failed)


def show(desk: Desk, case: Case, seen: Seen, answer: Answer) -> None:
    """Show an answer in the labels' node, which is made if there is none; to be called on the main thread.

    Args:
        desk: The desk.
        case: The case.
        seen: The node as it was before.
        answer: The answer.
    """
    case.state = answer.state
    node = desk.params.node_of("labels", case.node)
    if node is None:
        node = segments.add_segmentation(desk.scene, case.node, f"{case.node.GetName()} labels")
        desk.params.set_node("labels", node, case.node)
        _write(node, case, answer.after)
    elif node is not seen.node:
        return  # another segmentation was made the labels meanwhile: it is read before the next act
    elif segments.stamp(node) != seen.stamp:
        labelmap, described = segments.read(node, case.node, taken=case.labels)
        assert answer.before is not None
        _write(node, case, merged(Shown(labelmap=labelmap, segments=described), answer.before, answer.after))
        case.stamp = None
        return
    elif answer.whole is not None:
        _write(node, case, answer.whole)
    elif answer.change is not None:
        items = [item.segment for item in answer.state.objects]
        if not segments.write_box(node, answer.change.lower, answer.change.labels, items):
            _write(node, case, answer.after)
    case.stamp = segments.stamp(node)


def merged(now: Shown, before: Shown, after: Shown) -> Shown:
    """An answer, with what the user changed by hand meanwhile; that counts where both changed the same.

    Args:
        now: What the node shows.
        before: What it showed when the act began.
        after: What it would show without the user.
    """
    by_hand = now.labelmap != before.labelmap
    painted = set(np.unique(now.labelmap[by_hand]).tolist())
    former = {item.label: item for item in before.segments}
    present = {item.label: item for item in now.segments}
    kept = {item.label: item for item in after.segments if item.label in present or item.label not in former}
    for label, item in present.items():
        if former.get(label) != item or (label in painted and label not in kept):
            kept[label] = item
    labelmap = np.where(by_hand, now.labelmap, after.labelmap)
    labelmap[~np.isin(labelmap, list(kept))] = 0
    return Shown(labelmap=labelmap, segments=tuple(kept[label] for label in sorted(kept)))


def _write(node: slicer.vtkMRMLSegmentationNode, case: Case, shown: Shown) -> None:
    segments.write(node, case.node, shown.labelmap, shown.segments)


def _labels_of(session: Session) -> Shown:
    found = session.segmentation
    return Shown(labelmap=found.labelmap, segments=found.segments)
