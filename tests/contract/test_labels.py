"""Labels of a session: prompts, edits, undo, cancel, autosave; what every implementation of `Session` must do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chests import chest
from growing import CARD
from growing import Grower
from support.places import placed

from colipri_core.editing.edits import Adopt
from colipri_core.editing.edits import ChangeObject
from colipri_core.editing.edits import Paint
from colipri_core.editing.log import replay_log
from colipri_core.engine import Engine
from colipri_core.errors import AutosaveError
from colipri_core.errors import Cancelled
from colipri_core.errors import CapabilityError
from colipri_core.errors import EmptyHistoryError
from colipri_core.errors import ObjectLockedError
from colipri_core.errors import SessionClosedError
from colipri_core.inference.local import LocalEngine
from colipri_core.progress import CancelToken
from colipri_core.prompts import Box
from colipri_core.prompts import Crop
from colipri_core.prompts import Lasso
from colipri_core.prompts import Phrase
from colipri_core.prompts import Point
from colipri_core.prompts import Scribble
from colipri_core.session import Session

VOLUME = chest()
LEFT_LUNG = (-53.0, 35.0, -250.0)
RIGHT_LUNG = (83.0, 35.0, -250.0)


@pytest.fixture
def grower() -> Grower:
    return Grower()


@pytest.fixture
def clicking(place: str, bundle: Path, tmp_path: Path, grower: Grower) -> Iterator[Engine]:
    """An engine whose interactive model grows regions."""
    with (
        LocalEngine.load(bundle, device="cpu", cache_dir=tmp_path / "cache", segmenter=lambda device: grower) as local,
        placed(local, place) as engine,
    ):
        yield engine


@pytest.fixture
def session(clicking: Engine) -> Iterator[Session]:
    with clicking.open(VOLUME) as session:
        yield session


def shift(ras: tuple[float, float, float], *by: float) -> tuple[float, float, float]:
    r, a, s = (value + step for value, step in zip(ras, by, strict=True))
    return r, a, s


@pytest.mark.parametrize(
    "prompt",
    [
        Point(ras=LEFT_LUNG),
        Scribble(ras=(LEFT_LUNG, shift(LEFT_LUNG, 0, 20, 0))),
        Box(lower_ras=shift(LEFT_LUNG, -15, -15, -15), upper_ras=shift(LEFT_LUNG, 15, 15, 15)),
        Lasso(ras=(shift(LEFT_LUNG, -20, -20, 0), shift(LEFT_LUNG, 20, -20, 0), shift(LEFT_LUNG, 0, 25, 0))),
    ],
    ids=lambda prompt: prompt.kind,
)
def test_every_kind_of_prompt_makes_a_mask_on_the_volumes_own_grid(session: Session, prompt: object) -> None:
    change = session.prompt(prompt, label=2)
    assert change.action == prompt.kind
    assert change.voxels_changed > 100
    found = session.segmentation
    i, j, k = (slice(a, b) for a, b in zip(change.lower, change.upper, strict=True))
    assert np.array_equal(found.labelmap[i, j, k], change.labels)
    assert (found.labelmap == 2).sum() == change.voxels_changed
    assert VOLUME.voxels[found.labelmap == 2].mean() == pytest.approx(-820, abs=20)
    assert found.geometry == VOLUME.geometry
    assert found.provenance.model == CARD


def test_a_phrase_becomes_the_best_of_the_outlines_at_its_places(session: Session, grower: Grower) -> None:
    session.prompt(Phrase(text="pleural effusion"))
    places = [seen_at for _, _, seen_at in grower.asked]
    assert 1 <= len(set(places)) == len(places)
    assert all(VOLUME.geometry.contains(place) for place in places)
    session.prompt(Point(ras=LEFT_LUNG, positive=False))
    chosen = grower.asked[-1][2]
    assert chosen in places
    chosen_voxel = np.rint(VOLUME.geometry.world_to_index(chosen)).astype(int)
    session.undo()
    assert session.segmentation.labelmap[tuple(chosen_voxel)] == 1
    session.prompt(Point(ras=LEFT_LUNG))
    assert grower.asked[-1][2] is None  # a positive click says where by itself
    session.prompt(Point(ras=LEFT_LUNG), label=2)
    assert grower.asked[-1][2] is None


def test_clicks_build_on_one_another_and_undo_leads_back(session: Session, grower: Grower) -> None:
    masks = [session.segmentation.labelmap]
    for prompt in (Point(ras=LEFT_LUNG), Point(ras=RIGHT_LUNG), Point(ras=shift(RIGHT_LUNG, 0, 0, 30), positive=False)):
        session.prompt(prompt)
        masks.append(session.segmentation.labelmap)
    assert [len(prompts) for prompts, _, _ in grower.asked] == [1, 2, 3]
    assert grower.asked[0][1] is None
    assert np.array_equal(grower.asked[2][1].on_grid(VOLUME.shape), masks[2] == 1)
    for mask in reversed(masks[:-1]):
        session.undo()
        assert np.array_equal(session.segmentation.labelmap, mask)
    with pytest.raises(EmptyHistoryError):
        session.undo()
    for mask in masks[1:]:
        session.redo()
        assert np.array_equal(session.segmentation.labelmap, mask)


@pytest.mark.parametrize("after", [0, 3])
def test_a_cancelled_prompt_leaves_everything_as_it_was(session: Session, after: int) -> None:
    session.prompt(Point(ras=LEFT_LUNG))
    before, state = session.segmentation.labelmap, session.editing
    cancel = CancelToken()
    reports = []

    def progress(fraction: float, message: str) -> None:
        reports.append(fraction)
        if len(reports) > after:
            cancel.cancel()

    with pytest.raises(Cancelled):
        session.prompt(Point(ras=RIGHT_LUNG), progress=progress, cancel=cancel)
    assert np.array_equal(session.segmentation.labelmap, before)
    assert session.editing == state
    assert session.prompt(Point(ras=RIGHT_LUNG)).voxels_changed > 0


@pytest.mark.parametrize("prompt", [Point(ras=(1000.0, 0, 0)), Box(lower_ras=(900.0, 0, 0), upper_ras=(1000.0, 9, 9))])
def test_a_prompt_outside_the_volume_is_refused(session: Session, prompt: object, grower: Grower) -> None:
    with pytest.raises(ValueError, match="outside"):
        session.prompt(prompt)
    assert not grower.asked
    assert not session.editing.undo


def test_an_unknown_policy_is_refused(session: Session, grower: Grower) -> None:
    with pytest.raises(ValueError, match='keep, replace, got "foo"'):
        session.prompt(Point(ras=LEFT_LUNG), policy="foo")
    assert not grower.asked
    assert session.prompt(Point(ras=LEFT_LUNG)).voxels_changed > 100, "it still works"


def test_locked_objects_stay_and_policies_decide_over_others(session: Session) -> None:
    session.prompt(Point(ras=LEFT_LUNG), label=1)
    size = session.editing.voxels[1]
    kept = session.prompt(Point(ras=LEFT_LUNG), label=2)
    assert (kept.voxels_changed, kept.voxels_kept) == (0, size)
    session.edit(ChangeObject(label=1, locked=True))
    assert session.prompt(Point(ras=LEFT_LUNG), label=2, policy="replace").voxels_changed == 0
    with pytest.raises(ObjectLockedError):
        session.prompt(Point(ras=LEFT_LUNG), label=1)
    session.edit(ChangeObject(label=1, locked=False))
    assert session.prompt(Point(ras=LEFT_LUNG), label=2, policy="replace").voxels_changed == size


def test_structures_become_objects_that_can_be_edited(session: Session) -> None:
    structures = session.segment()
    session.edit(Adopt(segmentation=structures))
    assert np.array_equal(session.segmentation.labelmap, structures.labelmap)
    assert session.segmentation.segments == structures.segments
    assert session.segmentation.provenance.model == structures.provenance.model
    largest = max(session.editing.voxels, key=session.editing.voxels.get)
    everything = Crop(lower=(0, 0, 0), mask=np.ones(VOLUME.shape, dtype=bool))
    session.edit(Paint(voxels=everything, label=0))
    assert session.editing.voxels[largest] == 0
    session.undo()
    assert np.array_equal(session.segmentation.labelmap, structures.labelmap)


def test_the_log_replays_to_the_same_labels(session: Session) -> None:
    session.edit(Adopt(segmentation=session.segment()))
    session.prompt(Point(ras=LEFT_LUNG), label=9, policy="replace")
    log = json.loads(json.dumps(session.edit_log()))
    replayed, expected = replay_log(log), session.segmentation
    assert np.array_equal(replayed.labelmap, expected.labelmap)
    assert replayed.segments == expected.segments


def test_an_autosaved_session_is_taken_up_by_the_next(clicking: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    with clicking.open(VOLUME, autosave=folder) as session:
        session.prompt(Point(ras=LEFT_LUNG))
        session.prompt(Point(ras=RIGHT_LUNG), label=2)
        session.undo()
        labelmap = session.segmentation.labelmap
        with clicking.open(VOLUME, autosave=folder) as second, pytest.raises(AutosaveError, match="in use"):
            second.undo()
    with clicking.open(VOLUME, autosave=folder) as session:
        assert np.array_equal(session.segmentation.labelmap, labelmap)
        assert session.editing.recovered == 1
        assert session.editing.prompts == {1: (Point(ras=LEFT_LUNG),)}
        assert session.redo().label == 2


def test_a_closed_session_says_so(clicking: Engine) -> None:
    session = clicking.open(VOLUME)
    session.close()
    for ask in (
        lambda: session.prompt(Point(ras=LEFT_LUNG)),
        session.undo,
        lambda: session.segmentation,
        lambda: session.editing,
    ):
        with pytest.raises(SessionClosedError):
            ask()


def test_without_an_interactive_model_a_prompt_is_refused_and_the_brush_still_works(
    place: str, bundle: Path, tmp_path: Path
) -> None:
    def none(device: str) -> Grower:
        msg = "There is no interactive model here."
        raise CapabilityError(msg)

    with (
        LocalEngine.load(bundle, device="cpu", cache_dir=tmp_path / "cache", segmenter=none) as local,
        placed(local, place) as engine,
        engine.open(VOLUME) as session,
    ):
        for prompt in (Point(ras=LEFT_LUNG), Phrase(text="effusion")):
            with pytest.raises(CapabilityError, match="interactive model"):
                session.prompt(prompt)
        session.edit(Paint(voxels=Crop(lower=(3, 3, 3), mask=np.ones((4, 4, 4), dtype=bool)), label=1))
        assert session.editing.voxels == {1: 64}
