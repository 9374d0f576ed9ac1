"""A bundle comes back as it was written, and anything else is refused with the reason."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from bundles import small_model
from bundles import small_spec
from bundles import small_tokenizer
from safetensors.torch import load_file
from safetensors.torch import save_file

from colipri_core.errors import BundleError
from colipri_core.errors import Cancelled
from colipri_core.errors import ModelUnavailableError
from colipri_core.errors import UnsafeCheckpointError
from colipri_core.model.bundle import load_bundle
from colipri_core.model.bundle import save_bundle
from colipri_core.model.spec import BundleSpec
from colipri_core.model.spec import StructureSpec
from colipri_core.model.structure_head import StructureHead
from colipri_core.model.structure_head import StructureHeadConfig
from colipri_core.model.tokenizer import tokenize
from colipri_core.model.weights import file_sha256
from colipri_core.progress import CancelToken


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "small"
    save_bundle(path, spec=small_spec(), model=small_model(), tokenizer=small_tokenizer(tmp_path))
    return path


def rewrite_weights(folder: Path, change: Any) -> None:
    """Change the weights and the hash in the spec with them, as a wrong export would."""
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    rehash(folder)


def rehash(folder: Path) -> None:
    spec = json.loads((folder / "spec.json").read_text())
    spec["files"]["model.safetensors"] = file_sha256(folder / "model.safetensors")
    (folder / "spec.json").write_text(json.dumps(spec))


class TestRoundTrip:
    def test_outputs_are_bit_identical(self, folder: Path) -> None:
        bundle = load_bundle(folder)
        images = torch.rand(1, 1, 16, 16, 16) * 2 - 1
        ids, mask = tokenize(bundle.tokenizer, ["Pleural effusion present."], 32)
        with torch.no_grad():
            assert torch.equal(bundle.model.encode_image(images), small_model().encode_image(images))
            assert torch.equal(bundle.model.encode_text(ids, mask), small_model().encode_text(ids, mask))
        assert not bundle.model.training

    def test_spec_and_card(self, folder: Path) -> None:
        bundle = load_bundle(str(folder))
        assert dataclasses.replace(bundle.spec, files={}) == small_spec()
        assert bundle.card.sha256 == file_sha256(folder / "model.safetensors")
        assert bundle.card.synthetic
        assert bundle.structure_head is None

    def test_progress_reaches_one(self, folder: Path) -> None:
        seen: list[float] = []
        load_bundle(folder, progress=lambda fraction, _: seen.append(fraction))
        assert seen == sorted(seen)
        assert seen[-1] == 1.0

    def test_cancel(self, folder: Path) -> None:
        token = CancelToken()
        token.cancel()
        with pytest.raises(Cancelled):
            load_bundle(folder, cancel=token)

    def test_spec_survives_json(self) -> None:
        spec = small_spec(window=8)
        assert BundleSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


class TestStructureHead:
    @pytest.fixture
    def head_folder(self, tmp_path: Path) -> Path:
        path = tmp_path / "with-head"
        config = StructureHeadConfig(token_width=24, patch_size=4, channels=4, structures=("lung", "heart"))
        spec = small_spec(structures=StructureSpec(names=config.structures, config=config.to_json()))
        torch.manual_seed(3)
        save_bundle(
            path,
            spec=spec,
            model=small_model(),
            tokenizer=small_tokenizer(tmp_path),
            structure_head=StructureHead(config),
        )
        return path

    def test_head_travels_in_the_same_file(self, head_folder: Path) -> None:
        bundle = load_bundle(head_folder)
        assert bundle.structure_head is not None
        images = torch.zeros(1, 1, 16, 16, 16)
        with torch.no_grad():
            logits = bundle.structure_head(images, bundle.model.image_features(images))
        assert logits.shape == (1, 3, 16, 16, 16)
        saved = load_file(head_folder / "model.safetensors")
        assert torch.equal(saved["structure_head.out.bias"], bundle.structure_head.state_dict()["out.bias"])

    def test_missing_head_weight(self, head_folder: Path) -> None:
        rewrite_weights(head_folder, lambda w: w.pop("structure_head.out.bias"))
        with pytest.raises(BundleError, match=r"missing keys out\.bias"):
            load_bundle(head_folder)

    def test_a_lazy_load_checks_the_head_at_its_first_use(self, head_folder: Path) -> None:
        assert isinstance(load_bundle(head_folder, lazy_head=True).structure_head, StructureHead)
        rewrite_weights(head_folder, lambda w: w.pop("structure_head.out.bias"))
        bundle = load_bundle(head_folder, lazy_head=True)
        with pytest.raises(BundleError, match=r"missing keys out\.bias"):
            _ = bundle.structure_head

    def test_names_must_be_the_heads_own(self, head_folder: Path) -> None:
        spec = json.loads((head_folder / "spec.json").read_text())
        spec["structures"]["names"] = ["heart", "lung"]
        (head_folder / "spec.json").write_text(json.dumps(spec))
        with pytest.raises(BundleError, match=r"structures"):
            load_bundle(head_folder)


class TestRefusedFiles:
    def test_unknown_name_lists_what_there_is(self) -> None:
        with pytest.raises(ModelUnavailableError, match=r"shipped bundles.*no-such-model"):
            load_bundle("no-such-model")

    def test_folder_without_spec(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match=r"Expected spec\.json"):
            load_bundle(tmp_path)

    @pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin", "checkpoint"])
    def test_pickle_checkpoints(self, tmp_path: Path, name: str) -> None:
        torch.save({"weight": torch.zeros(2)}, tmp_path / name)
        with pytest.raises(UnsafeCheckpointError, match=r"safetensors"):
            load_bundle(tmp_path)
        with pytest.raises(UnsafeCheckpointError):
            load_bundle(tmp_path / name)

    def test_pickle_renamed_to_safetensors_never_runs(self, folder: Path, tmp_path: Path) -> None:
        ran = tmp_path / "ran"

        class Payload:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (ran,))

        (folder / "model.safetensors").write_bytes(pickle.dumps(Payload()))
        rehash(folder)
        with pytest.raises(UnsafeCheckpointError, match=r"model\.safetensors"):
            load_bundle(folder)
        assert not ran.exists()

    def test_tampered_weights_name_both_hashes(self, folder: Path) -> None:
        path = folder / "model.safetensors"
        right = file_sha256(path)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(BundleError, match=rf"{right}.*{file_sha256(path)}"):
            load_bundle(folder)

    def test_tampered_tokenizer(self, folder: Path) -> None:
        path = folder / "tokenizer.json"
        path.write_text(path.read_text().replace("lung", "lunf"))
        with pytest.raises(BundleError, match=r"tokenizer\.json"):
            load_bundle(folder)

    def test_truncated_weights(self, folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:1000])
        rehash(folder)
        with pytest.raises(BundleError, match=r"damaged"):
            load_bundle(folder)

    @pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
    def test_absent_file(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        with pytest.raises(BundleError, match=rf"Expected {name}"):
            load_bundle(folder)


class TestRefusedKeys:
    def test_missing(self, folder: Path) -> None:
        rewrite_weights(folder, lambda w: w.pop("image_encoder.projector.bias"))
        with pytest.raises(BundleError, match=r"missing keys image_encoder\.projector\.bias"):
            load_bundle(folder)

    @pytest.mark.parametrize("key", ["image_encoder.extra", "structure_head.a", "image_encoder.position_ids"])
    def test_unexpected(self, folder: Path, key: str) -> None:
        rewrite_weights(folder, lambda w: w.update({key: torch.zeros(1)}))
        with pytest.raises(BundleError, match=rf"unexpected keys {key}"):
            load_bundle(folder)

    def test_wrong_shape(self, folder: Path) -> None:
        rewrite_weights(folder, lambda w: w.update({"image_encoder.projector.bias": torch.zeros(5)}))
        with pytest.raises(BundleError, match=r"another shape image_encoder\.projector\.bias \(5,\)"):
            load_bundle(folder)

    def test_position_ids_of_old_exports_are_ignored(self, folder: Path) -> None:
        key = "text_encoder.backbone.embeddings.position_ids"
        rewrite_weights(folder, lambda w: w.update({key: torch.arange(32)[None]}))
        assert load_bundle(folder).spec.name == "small"


class TestRefusedSpecs:
    @pytest.mark.parametrize(
        ("path", "value", "message"),
        [
            (("kind",), "segmenter", r"kind must be one of colipri, clicks, dense, got 'segmenter'"),
            (("format_version",), 99, r"format_version"),
            (("surprise",), 1, r"unknown \['surprise'\]"),
            (("architecture", "image", "surprise"), 1, r"ImageEncoderConfig.*unknown \['surprise'\]"),
            (("architecture", "image", "heads"), 5, r"multiple of 6"),
            (("preprocessing", "orientation"), "RRS", r"orientation"),
            (("preprocessing", "spacing_mm"), [0, 1, 1], r"spacing_mm"),
            (("text",), None, r"text must be a JSON object"),
            (("calibration",), {"SCT:1": [1]}, r"spec\.json"),
            (("files",), {"../model.safetensors": "0" * 64}, r"plain file names"),
        ],
    )
    def test_wrong_value(self, folder: Path, path: tuple[str, ...], value: Any, message: str) -> None:
        spec = json.loads((folder / "spec.json").read_text())
        place = spec
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        (folder / "spec.json").write_text(json.dumps(spec))
        with pytest.raises(BundleError, match=message):
            load_bundle(folder)

    @pytest.mark.parametrize("key", ["preprocessing", "files", "calibration", "licence"])
    def test_missing_key(self, folder: Path, key: str) -> None:
        spec = json.loads((folder / "spec.json").read_text())
        del spec[key]
        (folder / "spec.json").write_text(json.dumps(spec))
        with pytest.raises(BundleError, match=rf"missing \['{key}'\]"):
            load_bundle(folder)

    def test_not_json(self, folder: Path) -> None:
        (folder / "spec.json").write_text("{")
        with pytest.raises(BundleError, match=r"spec\.json"):
            load_bundle(folder)
