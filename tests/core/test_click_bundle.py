"""The bundle of an interactive segmenter comes back as it was written, and anything else is refused with the reason."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import small_model
from bundles import small_spec
from bundles import small_tokenizer
from click_bundles import SIZES
from click_bundles import random_network
from click_bundles import save_random_clicks
from click_bundles import spec
from safetensors.torch import load_file
from safetensors.torch import save_file

from colipri_core.errors import BundleError
from colipri_core.errors import ModelUnavailableError
from colipri_core.errors import UnsafeCheckpointError
from colipri_core.inference.interactive import load_segmenter
from colipri_core.model.bundle import load_bundle
from colipri_core.model.bundle import save_bundle
from colipri_core.model.bundle import shipped_bundles
from colipri_core.model.click_bundle import load_click_bundle
from colipri_core.model.click_config import ClickNetworkConfig
from colipri_core.model.click_hints import HINTS
from colipri_core.model.click_hints import empty_hints
from colipri_core.model.click_hints import flood
from colipri_core.model.click_hints import paint_box
from colipri_core.model.click_hints import paint_point
from colipri_core.model.click_hints import place
from colipri_core.model.click_hints import smoothed
from colipri_core.model.click_network import ClickNetwork
from colipri_core.model.click_network import reference_hu
from colipri_core.model.click_spec import ClickSpec
from colipri_core.model.export import save_click_bundle
from colipri_core.model.weights import file_sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_random_clicks(tmp_path / "random")


def change_spec(folder: Path, **values: Any) -> None:
    path = folder / "spec.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


class TestNetwork:
    @pytest.mark.parametrize(("config", "size"), [(SIZES, 8), (ClickNetworkConfig(), 16)])
    def test_one_logit_a_voxel(self, config: ClickNetworkConfig, size: int) -> None:
        assert size % config.stride == 0
        with torch.no_grad():
            logits = ClickNetwork(config).eval()(
                torch.zeros(2, 1, size, size, size), torch.zeros(2, len(HINTS), *(size,) * 3)
            )

        assert logits.shape == (2, 1, size, size, size)

    def test_the_shipped_size_is_small(self) -> None:
        assert 1e6 < sum(value.numel() for value in ClickNetwork(ClickNetworkConfig()).parameters()) < 3e6

    def test_an_offset_of_all_intensities_changes_only_the_wide_view(self) -> None:
        network = random_network()
        hu, hints = torch.randn(1, 1, 8, 8, 8) * 50, torch.zeros(1, len(HINTS), 8, 8, 8)
        hints[0, 1, 4, 4, 4] = 1.0

        views = [network._views(x, reference_hu(x, hints)) for x in (hu, hu + 100)]

        assert torch.allclose(views[0][:, 1:], views[1][:, 1:], atol=1e-5)
        assert not torch.allclose(views[0][:, :1], views[1][:, :1])

    def test_the_reference_is_what_was_pointed_at(self) -> None:
        hu = torch.zeros(4, 1, 8, 8, 8)
        hu[:, :, :4] = 100.0
        hints = np.stack([empty_hints(8) for _ in range(4)])
        paint_point(hints[0, 1], (1, 4, 4))
        paint_box(hints[0, 3], (4, 0, 0), (8, 8, 8))
        paint_box(hints[1, 3], (0, 2, 2), (3, 6, 6))
        hints[2, 0, 4:] = 1.0

        reference = reference_hu(hu, torch.from_numpy(hints))

        assert reference.tolist() == pytest.approx([100, 100, 0, 0], abs=0.5)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"channels": 0},
            {"levels": -1},
            {"contrast_hu": (60.0,)},
            {"contrast_hu": (0.0, 10.0)},
            {"walks_hu": (8.0, 0.0)},
        ],
    )
    def test_impossible_sizes_are_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ClickNetworkConfig(**wrong)

    def test_sizes_come_back_from_json(self) -> None:
        config = ClickNetworkConfig(channels=8, contrast_hu=(10.0, 20.0))

        assert ClickNetworkConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


class TestHints:
    def test_a_point_outside_leaves_no_mark(self) -> None:
        hint = empty_hints(8)[0]

        paint_point(hint, (30.0, 4.0, 4.0))

        assert not hint.any()

    def test_a_point_near_the_edge_is_cut_off(self) -> None:
        hint = empty_hints(8)[0]

        paint_point(hint, (0.0, 4.0, 7.0))

        assert hint[0, 4, 7] == 1.0
        assert np.unravel_index(hint.argmax(), hint.shape) == (0, 4, 7)

    def test_a_box_rises_to_its_middle(self) -> None:
        hint = empty_hints(9)[0]

        paint_box(hint, (1, 1, 4), (8, 8, 5))

        assert hint[4, 4, 4] == 1.0
        assert 0.5 < hint[1, 1, 4] < 0.6
        assert not hint[..., 3].any()


class TestFlood:
    def test_it_stays_in_what_is_alike_and_connected(self) -> None:
        hu = np.full((24, 24, 24), -50.0, dtype=np.float32)
        hu[2:10, 2:10, 2:10] = 100.0
        hu[14:22, 14:22, 14:22] = 100.0
        mark = empty_hints(24)[0]
        paint_point(mark, (5.0, 6.0, 7.0))

        reached = flood(mark, smoothed(hu))

        assert reached[5, 6, 7] == 1.0
        assert reached[3:9, 3:9, 3:9].min() >= 0.6
        assert reached[18, 18, 18] < 0.6  # reached through the surroundings alone
        assert reached[12, 2, 2] == pytest.approx(reached[23, 23, 0])

    def test_what_was_pointed_at_by_nobody_floods_nothing(self) -> None:
        assert not flood(empty_hints(8)[0], np.zeros((8, 8, 8), dtype=np.float32)).any()

    def test_a_later_prompt_takes_back_an_earlier_one_of_the_other_sign(self) -> None:
        hints, hu = empty_hints(12), np.zeros((12, 12, 12), dtype=np.float32)
        marks = [empty_hints(12)[0] for _ in range(2)]
        for mark in marks:
            paint_point(mark, (6.0, 6.0, 6.0))

        place(hints, marks[0], hu, positive=True)
        place(hints, marks[1], hu, positive=False)

        assert hints[HINTS.index("positive")].max() < 0.5
        assert hints[HINTS.index("negative"), 6, 6, 6] == 1.0
        assert (hints[HINTS.index("like_negative")] == 1.0).all()

    def test_smoothing_keeps_constants_and_lowers_noise(self) -> None:
        noise = np.random.default_rng(0).normal(100, 30, (16, 16, 16)).astype(np.float32)

        assert np.allclose(smoothed(np.full((4, 4, 4), 7.0, dtype=np.float32)), 7.0)
        assert smoothed(noise).std() < 0.4 * noise.std()


class TestRoundTrip:
    def test_weights_and_spec_come_back(self, folder: Path) -> None:
        bundle = load_click_bundle(folder)

        assert bundle.spec == dataclasses.replace(spec("random"), files=bundle.spec.files)
        assert bundle.card.kind == "clicks"
        assert bundle.sha256 == file_sha256(folder / "model.safetensors")
        for name, value in random_network().state_dict().items():
            assert torch.equal(bundle.network.state_dict()[name], value)

    def test_it_opens_as_a_segmenter(self, folder: Path) -> None:
        assert load_segmenter(folder, device="cpu").card.name == "random"

    def test_nothing_is_overwritten_unasked(self, folder: Path) -> None:
        with pytest.raises(FileExistsError):
            save_click_bundle(folder, spec=spec(), network=random_network())

    def test_other_sizes_than_the_specs_are_not_written(self, tmp_path: Path) -> None:
        other = dataclasses.replace(spec(), architecture=ClickNetworkConfig(channels=6, levels=1))

        with pytest.raises(ValueError, match="same sizes"):
            save_click_bundle(tmp_path / "other", spec=other, network=random_network())
        assert not (tmp_path / "other").exists()

    def test_a_region_the_network_cannot_halve_is_refused(self) -> None:
        with pytest.raises(ValueError, match="multiple of 4"):
            dataclasses.replace(spec(), region=30)


class TestRefusal:
    def test_changed_weights(self, folder: Path) -> None:
        path = folder / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)

        with pytest.raises(BundleError, match="SHA-256"):
            load_click_bundle(folder)

    def test_a_missing_tensor_is_named(self, folder: Path) -> None:
        path = folder / "model.safetensors"
        weights = load_file(path)
        del weights["out.bias"]
        save_file(weights, path)
        change_spec(folder, files={"model.safetensors": file_sha256(path)})

        with pytest.raises(BundleError, match=r"missing keys out\.bias"):
            load_click_bundle(folder)

    def test_an_unknown_key_is_named(self, folder: Path) -> None:
        change_spec(folder, magic=1)

        with pytest.raises(BundleError, match="magic"):
            load_click_bundle(folder)

    def test_a_later_format_is_refused(self, folder: Path) -> None:
        change_spec(folder, format_version=99)

        with pytest.raises(BundleError, match="format_version"):
            load_click_bundle(folder)

    def test_a_pickle(self, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(pickle.dumps({"out.bias": 0}))

        with pytest.raises(UnsafeCheckpointError):
            load_click_bundle(folder)

    def test_no_such_bundle(self) -> None:
        with pytest.raises(ModelUnavailableError, match="no such model"):
            load_segmenter("absent", device="cpu")
        with pytest.raises(ModelUnavailableError, match="hub id"):
            load_segmenter("owner/model", device="cpu")

    def test_each_kind_opens_its_own_way(self, folder: Path, tmp_path: Path) -> None:
        encoder = tmp_path / "small"
        save_bundle(encoder, spec=small_spec(), model=small_model(), tokenizer=small_tokenizer(tmp_path))

        with pytest.raises(BundleError, match="load_segmenter"):
            load_bundle(folder)
        with pytest.raises(BundleError, match="engine"):
            load_click_bundle(encoder)

    def test_shipped_names_are_told_apart_by_kind(self) -> None:
        assert "tiny" in shipped_bundles()
        assert "tiny" not in shipped_bundles("clicks")
        assert set(shipped_bundles(None)) >= set(shipped_bundles()) | set(shipped_bundles("clicks"))


def test_the_document_is_plain_json() -> None:
    written = dataclasses.replace(spec(), files={"model.safetensors": "0" * 64})

    assert ClickSpec.from_json(json.loads(json.dumps(written.to_json()))) == written


def test_a_spec_from_before_there_were_walks_is_of_a_network_without() -> None:
    document = spec().to_json()
    del document["architecture"]["walks_hu"]

    assert ClickSpec.from_json(document).architecture == dataclasses.replace(SIZES, walks_hu=())
