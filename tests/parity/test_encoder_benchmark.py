"""The benchmark of the encoder runs, and its figures mean what they say."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from official import build_pair
from official import random_images

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "encoder.py"


@pytest.fixture(scope="module")
def encoder() -> Iterator[ModuleType]:
    """The benchmark script as a module."""
    before = list(sys.path)
    spec = importlib.util.spec_from_file_location("encoder_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["encoder_benchmark"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["encoder_benchmark"]
    sys.path[:] = before


def test_small_run_writes_its_figures(encoder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "encoder.json"
    monkeypatch.setattr(sys, "argv", ["encoder.py", "--size", "small", "--output", str(output)])
    encoder.main()
    document = json.loads(output.read_text())
    official, ours = document["rows"]
    assert official["cosine"] == 1
    assert 0.999 < ours["cosine"] < 1
    assert document["ratio_cpu_s"] == pytest.approx(ours["cpu_s"] / official["cpu_s"])


@torch.no_grad()
def test_what_is_timed_is_the_whole_forward_pass(encoder: ModuleType) -> None:
    config, shape = encoder.SIZES["small"]
    pair, images = build_pair(config, shape), random_images(shape)
    (official,) = encoder._in_turn(encoder._official_steps(pair, images))
    assert torch.allclose(official.pooled, pair.official.encode_image(images, project=True, pool=True), atol=1e-5)
    pair.ours.image_encoder.backbone.to(torch.bfloat16)
    (ours,) = encoder._in_turn(encoder._our_steps(pair, images))
    grid = pair.ours.image_features(images.to(torch.bfloat16))
    assert torch.equal(ours.pooled, pair.ours.project_and_pool(grid.float()))


def test_published_work(encoder: ModuleType) -> None:
    """16 blocks of 660 GFLOP attention and 248 GFLOP linear layers."""
    config, _ = encoder.SIZES["published"]
    assert encoder.forward_tflop(config.image, 13_824) == pytest.approx(16 * (0.660 + 0.248), rel=0.01)
