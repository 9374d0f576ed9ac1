"""Published weights come from a hub: resumed, verified, kept, and refused with a reason when they cannot."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from bundles import VOCABULARY
from bundles import small_config
from bundles import small_model
from bundles import small_spec
from bundles import small_tokenizer
from hub_server import COMMIT
from hub_server import FakeHub
from safetensors.torch import save

from colipri_core.errors import BundleError
from colipri_core.errors import Cancelled
from colipri_core.errors import ModelUnavailableError
from colipri_core.model import transfer
from colipri_core.model.bundle import Bundle
from colipri_core.model.bundle import load_bundle
from colipri_core.model.bundle import save_bundle
from colipri_core.model.hub import load_from_hub
from colipri_core.model.hub import published_spec
from colipri_core.model.spec import BundleSpec
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.progress import CancelToken
from colipri_core.progress import Reporter

ID = "microsoft/colipri"
TEXT_ID = "microsoft/BiomedVLP-CXR-BERT-specialized"
WEIGHTS = "model.safetensors"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The published layout with small random weights, and no other hub, cache or waiting."""
    weights = save({k: v.contiguous() for k, v in small_model().state_dict().items()})
    hub = FakeHub({ID: {WEIGHTS: weights}, TEXT_ID: {"vocab.txt": "\n".join(VOCABULARY).encode()}}).start()
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("COLIPRI_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "client"))
    monkeypatch.setattr(transfer, "_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(transfer, "_CHUNK", 8192)
    yield hub
    hub.stop()


def open_published(source: str = ID, *, report: Reporter | None = None) -> Bundle:
    return load_from_hub(source, report=report or Reporter(), architecture=small_config())


def assert_same_weights(bundle: Bundle) -> None:
    own, expected = bundle.model.state_dict(), small_model().state_dict()
    assert all(torch.equal(own[name], expected[name]) for name in expected)


class TestPublished:
    def test_download_with_progress(self, hub: FakeHub) -> None:
        seen: list[tuple[float, str]] = []
        bundle = open_published(report=Reporter(lambda f, m: seen.append((f, m))))
        assert_same_weights(bundle)
        fractions = [fraction for fraction, _ in seen]
        assert fractions == sorted(fractions)
        assert sum("Fetching model.safetensors" in message for _, message in seen) > 3
        assert bundle.spec.training_data.startswith("CT-RATE")
        assert bundle.card.licence == "MIT"

    def test_second_open_asks_nothing(self, hub: FakeHub) -> None:
        open_published()
        hub.log.clear()
        assert_same_weights(open_published())
        assert hub.log == []

    def test_text_vocabulary_is_asked_at_its_pinned_revision(self, hub: FakeHub) -> None:
        tokenizer = open_published().tokenizer
        asked = {path for _, path, _ in hub.log if "vocab.txt" in path}
        assert asked == {f"/{TEXT_ID}/resolve/5157bdba1437a3aed316dacb1a5b68edf96b9902/vocab.txt"}
        assert tokenizer("Pleural effusion")["input_ids"] == [2, 5, 6, 3]

    def test_no_code_is_fetched(self, hub: FakeHub) -> None:
        open_published()
        assert {path.rsplit("/", 1)[1] for _, path, _ in hub.log} == {WEIGHTS, "vocab.txt"}

    def test_missing_temperature_is_one_and_said(self, hub: FakeHub, caplog: pytest.LogCaptureFixture) -> None:
        state = small_model().state_dict()
        del state["softmax_temperature"]
        hub.repositories[ID][WEIGHTS] = save({k: v.contiguous() for k, v in state.items()})
        with caplog.at_level(logging.WARNING):
            bundle = open_published()
        assert bundle.model.softmax_temperature == 1
        assert "softmax_temperature" in caplog.text

    def test_wrong_key_is_named(self, hub: FakeHub) -> None:
        state = small_model().state_dict() | {"image_encoder.decoder": torch.zeros(1)}
        hub.repositories[ID][WEIGHTS] = save({k: v.contiguous() for k, v in state.items()})
        with pytest.raises(BundleError, match=r"unexpected keys image_encoder\.decoder"):
            open_published()

    def test_both_spacings_see_the_same_field_of_view(self) -> None:
        coarse, fine = published_spec(), published_spec(fine=True)
        assert coarse.preprocessing == PreprocessSpec.published()
        assert coarse.preprocessing.field_of_view_mm == fine.preprocessing.field_of_view_mm == (384, 384, 384)
        assert (coarse.window, fine.window) == (None, 192)
        assert BundleSpec.from_json(fine.to_json()) == fine

    def test_variant(self, hub: FakeHub) -> None:
        assert open_published(f"{ID}:1mm").spec.preprocessing.spacing_mm == (1, 1, 1)
        with pytest.raises(ModelUnavailableError, match=r"Expected a hub id"):
            open_published(f"{ID}:3mm")


class TestResume:
    def test_a_dropped_connection_continues_where_it_stopped(self, hub: FakeHub) -> None:
        hub.drops = [8192, 16384]
        assert_same_weights(open_published())
        assert hub.ranges(WEIGHTS) == ["bytes=0-", "bytes=8192-", "bytes=24576-"]

    def test_a_cancelled_download_continues_at_the_next_call(self, hub: FakeHub, tmp_path: Path) -> None:
        token = CancelToken()
        with pytest.raises(Cancelled):
            open_published(report=Reporter(lambda f, _: token.cancel() if f > 0.4 else None, token))
        (partial,) = (tmp_path / "models").rglob("*.partial")
        kept = partial.stat().st_size
        assert 0.3 < kept / len(hub.repositories[ID][WEIGHTS]) < 0.9
        assert_same_weights(open_published())
        assert hub.ranges(WEIGHTS) == ["bytes=0-", f"bytes={kept}-"]
        assert not partial.exists()

    def test_a_server_without_ranges_starts_again(self, hub: FakeHub) -> None:
        hub.drops, hub.ignore_range = [10_000], True
        assert_same_weights(open_published())

    def test_a_connection_that_brings_nothing_gives_up(self, hub: FakeHub) -> None:
        hub.drops = [0] * 20
        with pytest.raises(ModelUnavailableError, match=r"cannot be reached.*HF_ENDPOINT.*is kept"):
            open_published()
        assert len(hub.ranges(WEIGHTS)) == 5


class TestVerification:
    def test_a_damaged_download_is_refused_and_removed(self, hub: FakeHub, tmp_path: Path) -> None:
        hub.damage = True
        with pytest.raises(ModelUnavailableError, match=r"Expected the hash [0-9a-f]{64} .*fetch it anew"):
            open_published()
        assert not list((tmp_path / "models").rglob(f"{WEIGHTS}*"))
        hub.damage = False
        assert_same_weights(open_published())

    @pytest.mark.parametrize("name", [WEIGHTS, "vocab.txt"])
    def test_a_file_damaged_on_disk_is_refused_then_fetched_anew(self, hub: FakeHub, tmp_path: Path, name: str) -> None:
        open_published()
        (path,) = (tmp_path / "models").rglob(name)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        with pytest.raises(ModelUnavailableError, match=r"damaged"):
            open_published()
        assert_same_weights(open_published())


class TestOffline:
    def test_works_from_the_cache(self, hub: FakeHub) -> None:
        open_published()
        hub.stop()
        assert_same_weights(open_published())
        assert_same_weights(open_published(f"{ID}@{COMMIT}"))

    def test_works_from_the_hub_clients_cache(self, hub: FakeHub, tmp_path: Path) -> None:
        for repo_id, name, revision in (
            (ID, WEIGHTS, "main"),
            (TEXT_ID, "vocab.txt", "5157bdba1437a3aed316dacb1a5b68edf96b9902"),
        ):
            huggingface_hub.hf_hub_download(
                repo_id, name, revision=revision, endpoint=hub.endpoint, cache_dir=tmp_path / "client"
            )
        hub.stop()
        assert_same_weights(open_published())
        assert not (tmp_path / "models").exists()

    def test_without_a_copy_says_what_to_do(self, hub: FakeHub) -> None:
        hub.stop()
        with pytest.raises(ModelUnavailableError, match=r"such folder.*cannot be reached.*HF_ENDPOINT.*COLIPRI_MODELS"):
            load_bundle(ID)


class TestOthers:
    @pytest.mark.parametrize("source", ["nobody/nothing", f"{ID}@nowhere"])
    def test_unknown_repository_or_revision(self, hub: FakeHub, source: str) -> None:
        with pytest.raises(ModelUnavailableError, match=r"no such folder here.*does not exist or is not open to you"):
            load_bundle(source)

    def test_a_shared_bundle_opens(self, hub: FakeHub, tmp_path: Path) -> None:
        folder = tmp_path / "export"
        save_bundle(folder, spec=small_spec(), model=small_model(), tokenizer=small_tokenizer(tmp_path))
        hub.repositories["someone/mine"] = {path.name: path.read_bytes() for path in folder.iterdir()}
        bundle = load_bundle("someone/mine")
        assert_same_weights(bundle)
        assert bundle.spec.name == "small"

    def test_a_repository_that_is_no_bundle(self, hub: FakeHub) -> None:
        hub.repositories["someone/other"] = {"pytorch_model.bin": b"\x80\x04"}
        with pytest.raises(ModelUnavailableError, match=r"spec\.json"):
            load_bundle("someone/other")
