"""The entry in napari's activity list: there while a job runs, and no event is handled while the job begins."""

from __future__ import annotations

from collections.abc import Callable

import napari
from napari.utils.progress import progress
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QTimer

from napari_colipri.activity import Activity


def test_no_event_that_waits_is_handled_as_a_job_begins(
    make_napari_viewer: Callable[[], napari.Viewer], qtbot: QtBot
) -> None:
    make_napari_viewer()
    before = len(progress._all_instances)
    handled: list[str] = []
    activity = Activity(lambda: None)
    QTimer.singleShot(0, lambda: handled.append("mouse move"))
    activity.begin("Correcting")
    assert handled == []
    qtbot.waitUntil(lambda: len(progress._all_instances) == before + 1)
    assert handled == ["mouse move"]
    activity.end()
    assert len(progress._all_instances) == before


def test_a_job_that_ends_at_once_leaves_no_entry(make_napari_viewer: Callable[[], napari.Viewer], qtbot: QtBot) -> None:
    make_napari_viewer()
    before = len(progress._all_instances)
    activity = Activity(lambda: None)
    activity.begin("Painting")
    activity.end()
    qtbot.wait(20)
    assert len(progress._all_instances) == before
