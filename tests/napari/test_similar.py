"""Similar cases in the viewer: search a real store, read a report, open a match beside the current case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint
from qtpy.QtCore import Qt
from random_bundles import save_random_bundle
from scenes import OBLIQUE
from scenes import add_volume
from scenes import chest_like
from support.serving import serving

import colipri_core as cc
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.index.add import add_cases
from colipri_core.index.sources import find_sources
from colipri_core.io import write_volume
from napari_colipri.dock import ColipriDock
from napari_colipri.linked import MARKER
from napari_colipri.linked import LinkedViews
from napari_colipri.linked import Side
from napari_colipri.region import drawn_region
from napari_colipri.similar import OpenedMatch
from napari_colipri.source import layer_grid

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")

TIMEOUT_MS = 60_000
REPORT = "There is a pleural effusion. No lung nodule."


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_bundle(tmp_path_factory.mktemp("models") / "random", local=True)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    """A store of the scan itself and of two others, one of them with a bright block in the left lung."""
    folder = tmp_path_factory.mktemp("archive")
    plain = chest_like()
    block = plain.voxels.copy()
    block[28:32, 16:20, 10:14] = 200
    for name, volume in (
        ("itself", plain),
        ("block", plain.replace_voxels(block)),
        ("oblique", chest_like(affine=OBLIQUE)),
    ):
        write_volume(volume, folder / f"{name}.nii.gz")
    table = folder / "reports.csv"
    table.write_text(f'case,report\nblock,"{REPORT}"\n', encoding="utf-8")
    store = cc.open_store(folder / "store", "w")
    with cc.open_engine(bundle, device="cpu", cache_dir=folder / "cache") as engine:
        scans = [folder / f"{name}.nii.gz" for name in ("itself", "block", "oblique")]
        assert add_cases(store, engine, find_sources(scans, table)).failed == {}
    return folder


@pytest.fixture
def searching(archive: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, qtbot):
    """A dock on the plain chest, with the store chosen."""
    monkeypatch.setenv("COLIPRI_CACHE_DIR", str(tmp_path / "cache"))
    viewer = ViewerModel()
    add_volume(viewer, chest_like())
    dock = ColipriDock(viewer)
    qtbot.addWidget(dock)
    dock.model_panel.set_choice(str(bundle), "cpu")
    dock.similar.panel.store.setText(str(archive / "store"))
    dock.similar.panel.store.editingFinished.emit()
    yield dock
    dock.shutdown()


def wait(dock: ColipriDock, qtbot) -> None:
    qtbot.waitUntil(lambda: not dock.jobs.busy, timeout=TIMEOUT_MS)
    assert dock.error_bar.label.text() == ""


def names(dock: ColipriDock) -> list[str]:
    return [row.name for row in dock.similar.panel.model.rows]


def test_similar_cases_are_listed_nearest_first_without_the_scan_itself(searching: ColipriDock, qtbot) -> None:
    panel = searching.similar.panel
    panel.similar.click()
    wait(searching, qtbot)

    assert sorted(names(searching)) == ["block", "oblique"]
    distances = [row.match.distance for row in panel.model.rows]
    assert distances == sorted(distances)
    assert not panel.list.isHidden()


def test_a_match_shows_its_report_and_what_it_shares(searching: ColipriDock, qtbot) -> None:
    panel = searching.similar.panel
    searching.model_panel.analyse.click()
    wait(searching, qtbot)
    panel.similar.click()
    wait(searching, qtbot)
    here = {row.name for row in searching.workflow.case.rows if row.probability >= 0.5}
    number = names(searching).index("block")

    place = panel.list.visualRect(panel.model.index(number, 0))
    panel.list.show()
    qtbot.mouseClick(panel.list.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(90, place.center().y()))
    row = panel.model.rows[number]
    assert panel.report.toPlainText() == REPORT
    assert row.match.findings == ("Pleural effusion",)
    assert (row.shared, row.other) == (
        (("Pleural effusion",), ()) if "Pleural effusion" in here else ((), ("Pleural effusion",))
    )
    assert panel.open.isEnabled()


def test_a_drawn_region_is_found_where_it_is(searching: ColipriDock, archive: Path, qtbot) -> None:
    """A block is painted on the scan that has it; the nearest place of the store is that block."""
    viewer = searching.viewer
    viewer.layers.clear()
    block = cc.read_volume(archive / "block.nii.gz")
    layer = add_volume(viewer, block)
    grid = layer_grid(layer)
    mask = np.zeros(block.shape, dtype=np.uint8)
    mask[28:32, 16:20, 10:14] = 3
    labels = viewer.add_labels(grid.to_layer(mask), scale=layer.scale, translate=layer.translate, units=layer.units)
    labels.selected_label = 3
    viewer.layers.selection.active = labels
    region = drawn_region(layer, labels)
    with cc.open_engine(searching.workflow.choice.model, device="cpu") as engine, engine.open(block) as session:
        (best, *_) = session.similar(cc.open_store(archive / "store"), region=region)

    searching.similar.panel.region.click()
    wait(searching, qtbot)
    assert best.case == "block"
    assert np.abs(np.asarray(best.place.center_ras) - region.center_ras).max() <= 32
    assert set(names(searching)) == {"itself", "oblique"}  # the scan itself is left out
    assert all(row.match.place is not None for row in searching.similar.panel.model.rows)


def test_a_phrase_lists_the_cases(searching: ColipriDock, qtbot) -> None:
    panel = searching.similar.panel
    panel.phrase.setText("pleural effusion")
    panel.phrase.returnPressed.emit()
    wait(searching, qtbot)

    assert sorted(names(searching)) == ["block", "itself", "oblique"]


def test_matches_are_listed_under_the_scan_they_were_found_for(searching: ColipriDock, qtbot) -> None:
    panel, first = searching.similar.panel, searching.workflow.layer
    panel.similar.click()
    wait(searching, qtbot)
    searching.workflow.choose(add_volume(searching.viewer, chest_like(affine=OBLIQUE)))
    assert names(searching) == []

    panel.phrase.setText("pleural effusion")
    panel.phrase.returnPressed.emit()
    wait(searching, qtbot)
    assert len(names(searching)) == 3
    searching.workflow.choose(first)
    assert len(names(searching)) == 3  # what was found for a phrase holds for any scan


def test_nothing_drawn_is_said_in_words(searching: ColipriDock) -> None:
    searching.similar.panel.region.click()
    assert "Labels layer" in searching.error_bar.label.text()


def test_a_match_of_a_servers_store_is_read_at_the_server(
    searching: ColipriDock, archive: Path, bundle: Path, tmp_path: Path, qtbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its path is relative to the server's folder, not to where napari was started."""
    monkeypatch.chdir(tmp_path)
    opened: list[OpenedMatch] = []
    cases = searching.similar.cases
    cases.opened.disconnect()
    cases.opened.connect(opened.append)
    with (
        cc.open_engine(bundle, device="cpu", cache_dir=tmp_path / "there") as engine,
        serving(engine, state=tmp_path / "state", root=archive, stores={"ward": str(archive / "store")}) as url,
    ):
        searching.model_panel.set_choice(url, "auto")
        searching.similar.panel.store.setText("ward")
        searching.similar.panel.store.editingFinished.emit()
        searching.similar.panel.similar.click()
        wait(searching, qtbot)
        (row,) = (row for row in searching.similar.panel.model.rows if row.name == "block")
        assert row.match.path == "block.nii.gz"
        assert cases.open(row)
        wait(searching, qtbot)
    assert [found.volume.sha256 for found in opened] == [cc.read_volume(archive / "block.nii.gz").sha256]


def test_a_folder_that_is_no_store_is_said_in_words(searching: ColipriDock, tmp_path: Path, qtbot) -> None:
    searching.similar.panel.store.setText(str(tmp_path))
    searching.similar.panel.store.editingFinished.emit()
    searching.similar.panel.similar.click()
    qtbot.waitUntil(lambda: not searching.jobs.busy, timeout=TIMEOUT_MS)
    assert "Expected a case store" in searching.error_bar.label.text()


def test_a_scan_that_is_gone_is_said_in_words(searching: ColipriDock, archive: Path, qtbot) -> None:
    panel = searching.similar.panel
    panel.similar.click()
    wait(searching, qtbot)
    row = panel.model.rows[0]
    hidden = Path(row.match.path).rename(archive / "hidden")
    try:
        searching.similar.cases.open(row)
        qtbot.waitUntil(lambda: not searching.jobs.busy, timeout=TIMEOUT_MS)
        assert "nothing at this path" in searching.error_bar.label.text()
        assert searching.similar.companion is None
    finally:
        hidden.rename(row.match.path)


class TestRegion:
    def test_a_rectangle_and_an_ellipse_cover_the_voxels_within(self) -> None:
        viewer, volume = ViewerModel(), chest_like(affine=OBLIQUE)
        layer = add_volume(viewer, volume)
        corners = np.array([[5, 10, 12], [5, 10, 20], [5, 18, 20], [5, 18, 12]], dtype=float) - (0, 0.5, 0.5)
        world = np.array([layer.data_to_world(corner) for corner in corners])

        rectangle = viewer.add_shapes([world], shape_type="rectangle", ndim=3)
        region = drawn_region(layer, rectangle)
        assert region.mask.sum() == 64
        where = np.argwhere(region.mask) + region.lower
        shown = np.rint(layer_grid(layer).ras_to_layer(volume.geometry.index_to_world(where))).astype(int)
        assert shown.min(axis=0).tolist() == [5, 10, 12]
        assert shown.max(axis=0).tolist() == [5, 17, 19]

        ellipse = viewer.add_shapes([world], shape_type="ellipse", ndim=3)
        assert drawn_region(layer, ellipse).mask.sum() == pytest.approx(64 * np.pi / 4, abs=4)

    def test_labels_of_another_grid_are_refused(self) -> None:
        viewer = ViewerModel()
        layer = add_volume(viewer, chest_like())
        labels = viewer.add_labels(np.ones((4, 4, 4), dtype=np.uint8))
        with pytest.raises(UnsupportedVolumeError, match="do not lie on the grid"):
            drawn_region(layer, labels)


class TestLinkedViews:
    @pytest.fixture
    def views(self):
        """An axis-aligned scan and an oblique one, linked at two places."""
        sides = []
        for affine, anchor in ((None, (-100.0, -80.0, 120.0)), (OBLIQUE, None)):
            viewer = ViewerModel()
            layer = add_volume(viewer, chest_like(affine=affine))
            sides.append(Side(viewer, layer, anchor))
        views = LinkedViews(*sides)
        yield (*sides, views)
        views.close()

    def test_slices_keep_their_offset_from_the_anchors_in_mm(self, views) -> None:
        main, other, _ = views
        main.go_to(main.anchor + np.array([0, 0, 20.0]))
        assert other.ras_at(other.viewer.dims.point) - other.anchor == pytest.approx([0, 0, 20.0], abs=3.5)
        other.go_to(other.anchor + np.array([0, 0, -10.0]))
        assert main.ras_at(main.viewer.dims.point) - main.anchor == pytest.approx([0, 0, -10.0], abs=8.0)

    def test_the_mouse_is_marked_at_the_same_offset(self, views) -> None:
        main, other, _ = views
        main.viewer.cursor.position = tuple(main.position_of(main.anchor + np.array([12.0, -7.0, 3.0])))
        for callback in main.viewer.mouse_move_callbacks:
            callback(main.viewer, None)
        marked = other.ras_at(other.viewer.layers[MARKER].data[0])
        shown = other.position_of(marked)
        assert shown[1:] == pytest.approx(other.position_of(other.anchor + np.array([12.0, -7.0, 3.0]))[1:], abs=1e-6)
        assert shown[0] == pytest.approx(other.viewer.dims.point[0])

    def test_unlinked_views_go_their_own_way_and_are_linked_again_where_they_are(self, views) -> None:
        main, other, links = views
        links.set_linked(False)
        before = tuple(other.viewer.dims.point)
        main.go_to(main.anchor + np.array([0, 0, 40.0]))
        assert tuple(other.viewer.dims.point) == before
        links.set_linked(True)
        here, there = main.ras_at(main.viewer.dims.point), other.ras_at(other.viewer.dims.point)
        assert (main.anchor, other.anchor) == (pytest.approx(here), pytest.approx(there))

    def test_planes_are_shared_and_closing_lets_go(self, views) -> None:
        main, other, links = views
        main.viewer.dims.order = (1, 0, 2)
        assert other.viewer.dims.order == (1, 0, 2)
        links.close()
        links.close()
        main.viewer.dims.order = (2, 0, 1)
        assert other.viewer.dims.order == (1, 0, 2)
        assert MARKER not in other.viewer.layers

    def test_a_scan_that_is_closed_leads_nobody(self, views) -> None:
        main, other, _ = views
        before = tuple(other.viewer.dims.point)
        main.viewer.layers.clear()
        assert main.viewer.dims.ndim == 2
        views[2].set_linked(True)
        for callback in main.viewer.mouse_move_callbacks:
            callback(main.viewer, None)
        assert tuple(other.viewer.dims.point) == before
        assert MARKER not in other.viewer.layers

    @pytest.mark.parametrize(
        "remove", [lambda side: side.viewer.layers.remove(side.layer), lambda side: side.viewer.layers.clear()]
    )
    def test_the_cross_goes_with_the_scan(self, views, remove) -> None:
        main, other, links = views
        other.viewer.cursor.position = tuple(other.position_of(other.anchor))
        for callback in other.viewer.mouse_move_callbacks:
            callback(other.viewer, None)
        assert MARKER in main.viewer.layers
        remove(main)
        assert MARKER not in main.viewer.layers
        links.set_linked(False)
        links.set_linked(True)
        assert not links.linked


def test_a_match_opens_beside_the_viewer_and_closing_lets_go(
    archive: Path, bundle: Path, make_napari_viewer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, qtbot
) -> None:
    monkeypatch.setenv("COLIPRI_CACHE_DIR", str(tmp_path / "cache"))
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1500, 900)
    add_volume(viewer, chest_like())
    _, dock = viewer.window.add_plugin_dock_widget("napari-colipri", "COLIPRI")
    dock.model_panel.set_choice(str(bundle), "cpu")
    dock.similar.section.header.setChecked(True)
    panel = dock.similar.panel
    panel.store.setText(str(archive / "store"))
    panel.store.editingFinished.emit()
    panel.similar.click()
    wait(dock, qtbot)
    row = next(row for row in panel.model.rows if row.name == "oblique")
    panel.list.chosen.emit(row)
    panel.open.click()
    wait(dock, qtbot)

    companion = dock.similar.companion
    assert np.array_equal(np.sort(companion.layer.data, axis=None), np.sort(chest_like().voxels, axis=None))
    assert companion.linked.isChecked()
    before = companion.model.dims.point[0]
    viewer.dims.set_point(0, viewer.dims.point[0] + 20)
    assert companion.model.dims.point[0] != before
    qtbot.waitUntil(lambda: companion.isVisible() and min(companion.width(), companion.height()) > 300)
    picture = companion.canvas.screenshot(flash=False)
    assert picture[..., :3].std() > 10

    viewer.window.remove_dock_widget(dock)
    assert companion.links is None
    assert "Similar case" not in viewer.window.dock_widgets
    viewer.dims.set_point(0, viewer.dims.point[0] - 20)
