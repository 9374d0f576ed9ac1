"""nnInteractive behind prompts: what its session is told, and what it costs to say that it is not there.

The package itself needs a checkpoint of 100 MB that only its own site has. `Session` stands in for
`nnInteractiveInferenceSession` of nninteractive 2.6: the same calls, shapes and checks, and a rule for a network.
"""

from __future__ import annotations

import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from random_bundles import save_random_bundle

import colipri_core as cc
from colipri_core.errors import Cancelled
from colipri_core.errors import MissingDependencyError
from colipri_core.errors import ModelUnavailableError
from colipri_core.inference.nninteractive import NnInteractiveSegmenter
from colipri_core.inference.segmenters import segmenter_loader

AFFINE = np.array([[0.0, -1.5, 0.0, 60.0], [0.8, 0.0, 0.0, -20.0], [0.0, 0.0, 2.0, 5.0], [0.0, 0.0, 0.0, 1.0]])


class Session:
    """Takes what is as bright as the points, within a distance of them; told of everything through the real calls."""

    license = "CC BY-NC-SA 4.0"

    def __init__(self, device=None, *, enable_undo: bool = True) -> None:
        self.calls: list[str] = []
        self.folder = ""

    def initialize_from_trained_model_folder(self, folder: str, use_fold=None, checkpoint_name="checkpoint_final.pth"):
        if not (Path(folder) / "plans.json").is_file():
            msg = "plans.json"
            raise FileNotFoundError(msg)

    def set_image(self, image: np.ndarray, image_properties: dict | None = None) -> None:
        assert image.ndim == 4
        self.calls.append("image")
        self.image = image[0].copy()
        self.points: list[tuple[tuple[int, ...], bool]] = []

    def set_target_buffer(self, target_buffer: np.ndarray) -> None:
        assert target_buffer.shape == self.image.shape
        self.buffer = target_buffer

    def reset_interactions(self) -> None:
        self.calls.append("reset")
        self.points = []
        self.buffer.fill(0)

    def add_initial_seg_interaction(self, initial_seg: np.ndarray, run_prediction: bool = False) -> None:
        assert initial_seg.shape == self.image.shape
        self.reset_interactions()
        self.calls.append("seed")
        self.buffer[:] = initial_seg

    def add_point_interaction(self, coordinates, include_interaction: bool, run_prediction: bool = True) -> None:
        self.calls.append("point")
        self._mark(coordinates, include_interaction, run_prediction)

    def add_bbox_interaction(self, bbox_coords, include_interaction: bool, run_prediction: bool = True) -> None:
        sizes = [b - a for a, b in bbox_coords]
        assert 1 in sizes, "the official checkpoints take flat boxes"
        self.calls.append(f"box {sizes}")
        self._mark([(a + b) // 2 for a, b in bbox_coords], include_interaction, run_prediction)

    def add_scribble_interaction(self, scribble_image, include_interaction, run_prediction=True, interaction_bbox=None):
        self._mask("scribble", scribble_image, include_interaction, run_prediction, interaction_bbox)

    def add_lasso_interaction(self, lasso_image, include_interaction, run_prediction=True, interaction_bbox=None):
        self._mask("lasso", lasso_image, include_interaction, run_prediction, interaction_bbox)

    def _mask(self, name, mask, include, run, bbox) -> None:
        assert list(mask.shape) == [b - a for a, b in bbox]
        self.calls.append(name)
        first = np.argwhere(mask)[0] + [a for a, _ in bbox]
        self._mark(first, include, run)

    def _mark(self, at, include: bool, run: bool) -> None:
        self.points.append((tuple(int(value) for value in at), include))
        if run:
            self.calls.append("predict")
            self.buffer[:] = self._predicted()

    def _predicted(self) -> np.ndarray:
        mask = self.buffer > 0
        for at, include in self.points:
            near = np.abs(np.indices(self.image.shape) - np.reshape(at, (3, 1, 1, 1))).max(axis=0) <= 3
            alike = np.abs(self.image - self.image[at]) < 50
            mask = mask | (near & alike) if include else mask & ~(near & alike)
        return mask.astype(np.uint8)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The package as far as it is used, and the folder of a checkpoint."""
    package = types.ModuleType("nnInteractive")
    package.__spec__ = ModuleSpec("nnInteractive", None)
    inference = types.ModuleType("nnInteractive.inference")
    session = types.ModuleType("nnInteractive.inference.inference_session")
    session.nnInteractiveInferenceSession = Session  # type: ignore[attr-defined]
    management = types.ModuleType("nnInteractive.model_management")

    def default() -> str:
        msg = "Could not load the nnInteractive model manifest from Hugging Face."
        raise RuntimeError(msg)

    management.get_default_model_id = default  # type: ignore[attr-defined]
    management.ensure_model_available = Path  # type: ignore[attr-defined]
    package.model_management = management  # type: ignore[attr-defined]
    for module in (package, inference, session, management):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    folder = tmp_path / "nnInteractive_v1.0"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text("{}")
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"weights")
    return folder


@pytest.fixture
def scan() -> cc.Volume:
    voxels = np.zeros((20, 18, 16), dtype=np.int16)
    voxels[5:12, 4:11, 3:12] = 300
    return cc.Volume(voxels=voxels, affine=AFFINE, name="block")


def at(scan: cc.Volume, *index: float, positive: bool = True) -> cc.Point:
    r, a, s = (float(value) for value in scan.geometry.index_to_world(index))
    return cc.Point(ras=(r, a, s), positive=positive)


def test_a_session_asks_it_and_names_it(installed: Path, scan: cc.Volume, tmp_path: Path) -> None:
    bundle = save_random_bundle(tmp_path / "random")
    opened = cc.open_engine(bundle, device="cpu", cache_dir=tmp_path, clicks_model=f"nninteractive:{installed}")
    with opened as engine, engine.open(scan) as session:
        session.prompt(at(scan, 8, 7, 7))
        found = session.segmentation
    expected = np.zeros(scan.shape, dtype=bool)
    expected[5:12, 4:11, 4:11] = True
    np.testing.assert_array_equal(found.labelmap > 0, expected)
    assert found.provenance is not None
    assert found.provenance.model.kind == "nninteractive"
    assert found.provenance.model.licence == "CC BY-NC-SA 4.0"
    assert found.provenance.model.name == "nnInteractive_v1.0"


class TestSegmenter:
    @pytest.fixture
    def session(self) -> Session:
        return Session()

    @pytest.fixture
    def segmenter(self, session: Session) -> NnInteractiveSegmenter:
        from colipri_core.provenance import ModelCard

        card = ModelCard(
            name="n", sha256="0" * 64, kind="nninteractive", training_data="x", synthetic=False, licence="x"
        )
        return NnInteractiveSegmenter(session, card)

    def test_further_prompts_go_on_without_reading_the_volume_again(self, segmenter, session, scan) -> None:
        first = at(scan, 8, 7, 5)
        shown = segmenter.propose(scan, [first], previous=None)
        second = at(scan, 8, 7, 10)
        wider = segmenter.propose(scan, [first, second], previous=shown)
        assert session.calls == ["image", "reset", "point", "predict", "point", "predict"]
        assert wider.mask.sum() > shown.mask.sum()

    def test_an_edit_by_hand_is_what_the_next_answer_builds_on(self, segmenter, session, scan) -> None:
        first = at(scan, 8, 7, 5)
        segmenter.propose(scan, [first], previous=None)
        session.calls.clear()
        painted = np.zeros(scan.shape, dtype=bool)
        painted[0:3, 0:2, 0:2] = True
        found = segmenter.propose(scan, [first, at(scan, 8, 7, 7)], previous=cc.Crop.around(painted))
        assert session.calls == ["reset", "seed", "point", "predict"]
        assert found.on_grid(scan.shape)[painted].all()

    def test_undo_is_followed(self, segmenter, session, scan) -> None:
        first, second = at(scan, 8, 7, 5), at(scan, 8, 7, 10)
        shown = segmenter.propose(scan, [first], previous=None)
        segmenter.propose(scan, [first, second], previous=shown)
        again = segmenter.propose(scan, [first, at(scan, 8, 7, 9)], previous=shown)
        assert "seed" in session.calls
        assert not again.on_grid(scan.shape)[..., 13:].any()

    def test_all_prompts_of_a_new_object_are_given_before_one_prediction(self, segmenter, session, scan) -> None:
        segmenter.propose(
            scan, [at(scan, 8, 7, 5), at(scan, 8, 7, 10), at(scan, 0, 0, 0, positive=False)], previous=None
        )
        assert session.calls == ["image", "reset", "point", "point", "point", "predict"]

    def test_boxes_strokes_and_lassos(self, segmenter, session, scan) -> None:
        low, high = (scan.geometry.index_to_world(index) for index in ((5, 4, 3), (11, 10, 11)))
        box = cc.Box(lower_ras=tuple(np.minimum(low, high)), upper_ras=tuple(np.maximum(low, high)))
        line = scan.geometry.index_to_world(np.array([[6, 6, 6], [9, 6, 6]]))
        loop = scan.geometry.index_to_world(np.array([[6, 5, 6], [10, 5, 6], [10, 9, 6], [6, 9, 6]]))
        stroke = cc.Scribble(ras=tuple(map(tuple, line.tolist())))
        lasso = cc.Lasso(ras=tuple(map(tuple, loop.tolist())))
        found = segmenter.propose(scan, [box, stroke, lasso], previous=None)
        assert session.calls == ["image", "reset", "box [1, 7, 7]", "scribble", "lasso", "predict"]
        assert (scan.voxels[found.box][found.mask] == 300).all()

    def test_a_negative_prompt_alone_shows_nothing(self, segmenter, session, scan) -> None:
        assert segmenter.propose(scan, [at(scan, 8, 7, 5, positive=False)], previous=None).is_empty
        assert session.calls == []

    def test_it_can_be_cancelled_before_it_is_asked(self, segmenter, scan) -> None:
        cancel = cc.CancelToken()
        cancel.cancel()
        with pytest.raises(Cancelled):
            segmenter.propose(scan, [at(scan, 8, 7, 5)], previous=None, cancel=cancel)


def test_where_it_is_not_installed_the_command_that_installs_it_is_said() -> None:
    if "nnInteractive" in sys.modules:
        pytest.skip("nninteractive is installed here")
    with pytest.raises(MissingDependencyError, match=r"pip install nninteractive.*not for commercial use"):
        segmenter_loader("nninteractive")


def test_a_folder_that_is_no_checkpoint_and_a_default_that_cannot_be_fetched(installed: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="Choose another"):
        segmenter_loader(f"nninteractive:{tmp_path}")("cpu")
    with pytest.raises(ModelUnavailableError, match="nninteractive:FOLDER"):
        segmenter_loader("nninteractive")("cpu")


def test_a_wrong_bundle_for_clicks_is_refused_when_the_engine_opens(tmp_path: Path) -> None:
    bundle = save_random_bundle(tmp_path / "random")
    with pytest.raises(ModelUnavailableError, match='kind "clicks"'):
        cc.open_engine(bundle, device="cpu", clicks_model=bundle)
    with pytest.raises(ModelUnavailableError, match="no such model"):
        cc.open_engine(bundle, device="cpu", clicks_model="absent")
