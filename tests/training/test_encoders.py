"""Dense encoders: what they say of their features holds, and bundles give them back bit for bit or refuse."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from colipri_core.errors import BundleError
from colipri_core.model.bundle import SHIPPED
from colipri_core.model.bundle import load_bundle
from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.dense_bundle import load_dense_bundle
from colipri_core.model.dense_spec import DenseSpec
from colipri_core.model.encoder_config import encoder_from_json
from colipri_core.model.encoder_config import encoder_to_json
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_training.encoders import DenseEncoder
from colipri_training.encoders import EncoderConfig
from colipri_training.encoders import ResNetConfig
from colipri_training.encoders import SwinConfig
from colipri_training.encoders import build_encoder
from colipri_training.encoders import load_encoder
from colipri_training.encoders import save_encoder

CONFIGS: dict[str, EncoderConfig] = {
    "primus": ImageEncoderConfig(width=48, depth=2, heads=4, drop_path=0.0),
    "resnet": ResNetConfig(block="basic", layers=(1, 1, 1, 1), planes=(8, 16, 16, 24), max_pool=False),
    "resnet-pool": ResNetConfig(layers=(1, 1, 1, 1), planes=(8, 8, 16, 16)),
    "swin": SwinConfig(width=12, depths=(1, 1, 1, 1), heads=(1, 2, 3, 6), window=4),
}


def spec_of(config: EncoderConfig) -> DenseSpec:
    return DenseSpec(
        name="test",
        description="A test.",
        architecture=config,
        preprocessing=PreprocessSpec(spacing_mm=(2.0, 2.0, 2.0), size=(64, 64, 64)),
        licence="Apache-2.0",
        training_data="Nothing.",
        synthetic=True,
    )


@pytest.fixture(params=sorted(CONFIGS))
def encoder(request: pytest.FixtureRequest) -> DenseEncoder:
    torch.manual_seed(0)
    return build_encoder(CONFIGS[request.param]).eval()


@torch.no_grad()
def test_maps_have_the_channels_and_strides_that_are_said(encoder: DenseEncoder) -> None:
    assert isinstance(encoder, DenseEncoder)
    levels = encoder(torch.randn(2, 1, 64, 64, 32))
    assert [level.shape[1] for level in levels] == list(encoder.channels)
    for level, stride in zip(levels, encoder.strides, strict=True):
        assert level.shape[2:] == (64 // stride, 64 // stride, 32 // stride)
    assert sorted(encoder.strides) == list(encoder.strides)


@torch.no_grad()
@pytest.mark.parametrize("mode", [True, False])
def test_features_of_a_volume_do_not_depend_on_the_others(encoder: DenseEncoder, mode: bool) -> None:
    assert isinstance(encoder, torch.nn.Module)
    encoder.train(mode)
    images = torch.randn(2, 1, 32, 32, 32)
    together, alone = encoder(images)[-1][:1], encoder(images[:1])[-1]
    assert torch.allclose(together, alone, atol=1e-5)


def test_checkpointing_changes_nothing(encoder: DenseEncoder) -> None:
    assert isinstance(encoder, torch.nn.Module)
    images = torch.randn(1, 1, 32, 32, 32)
    encoder.train()
    gradients = []
    for wanted in (False, True):
        encoder.activation_checkpointing = wanted
        encoder.zero_grad()
        encoder(images)[-1].square().sum().backward()
        gradients.append([value.grad.clone() for value in encoder.parameters() if value.grad is not None])
    assert encoder.activation_checkpointing
    assert len(gradients[0]) == len(gradients[1]) > 0
    assert all(torch.allclose(a, b, atol=1e-5, rtol=1e-4) for a, b in zip(*gradients, strict=True))


def test_a_volume_that_does_not_divide_is_refused(encoder: DenseEncoder) -> None:
    with pytest.raises(ValueError, match="crop or pad first"):
        encoder(torch.zeros(1, 1, 33, 32, 32))


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_sizes_survive_json(name: str) -> None:
    document = json.loads(json.dumps(encoder_to_json(CONFIGS[name])))
    assert encoder_from_json(document) == CONFIGS[name]
    with pytest.raises(ValueError, match="unknown \\['deptth'\\]"):
        encoder_from_json({**document, "deptth": 1})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "unet"}, "kind must be one of"),
        ({**encoder_to_json(ResNetConfig()), "planes": [60, 128, 256, 512]}, "multiples of 8"),
        ({**encoder_to_json(ResNetConfig()), "layers": [1, 2, 3]}, "4 positive whole numbers"),
        ({**encoder_to_json(SwinConfig()), "heads": [5, 6, 12, 24]}, "multiple of its heads"),
    ],
)
def test_impossible_sizes_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encoder_from_json(values)


class TestBundles:
    @torch.no_grad()
    def test_give_back_what_was_saved(self, encoder: DenseEncoder, tmp_path: Path) -> None:
        written = save_encoder(encoder, tmp_path / "bundle", spec=spec_of(encoder.config))  # type: ignore[arg-type]
        loaded = load_encoder(tmp_path / "bundle")
        images = torch.randn(1, 1, 32, 32, 32)
        for a, b in zip(encoder(images), loaded.encoder(images), strict=True):
            assert torch.equal(a, b)
        assert loaded.spec == written
        assert loaded.sha256 == written.files["model.safetensors"]
        assert not loaded.encoder.training

    @torch.no_grad()
    def test_the_shipped_encoder_is_a_dense_one_too(self) -> None:
        loaded, bundle = load_encoder("tiny"), load_bundle("tiny", lazy_head=True)
        images = torch.randn(1, 1, 32, 32, 32)
        assert torch.equal(loaded.encoder(images)[-1], bundle.model.image_features(images))

    def test_another_kind_or_size_is_refused(self, tmp_path: Path) -> None:
        config = CONFIGS["resnet"]
        with pytest.raises(ValueError, match="belong together"):
            save_encoder(build_encoder(config), tmp_path / "bundle", spec=spec_of(CONFIGS["swin"]))
        save_encoder(build_encoder(config), tmp_path / "bundle", spec=spec_of(config))
        with pytest.raises(BundleError, match="load_dense_bundle"):
            load_bundle(tmp_path / "bundle")
        with pytest.raises(BundleError, match='kind "colipri"'):
            load_dense_bundle(SHIPPED / "tiny")

    def test_weights_that_do_not_fit_are_named(self, tmp_path: Path) -> None:
        config = CONFIGS["resnet"]
        save_encoder(build_encoder(config), tmp_path / "bundle", spec=spec_of(config))
        path = tmp_path / "bundle" / "spec.json"
        document = json.loads(path.read_text())
        assert isinstance(config, type(CONFIGS["resnet-pool"]))
        other = dataclasses.replace(config, layers=(1, 1, 1, 2))
        path.write_text(json.dumps({**document, "architecture": encoder_to_json(other)}))
        with pytest.raises(BundleError, match=r"missing keys encoder\.stages\.3\.1"):
            load_encoder(tmp_path / "bundle")
