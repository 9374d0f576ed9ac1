"""The benchmarks of training run at a small size, and their figures mean what they say."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from prepared_sets import prepare_for_smoke
from repository import ROOT


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_benchmark", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    return prepare_for_smoke(tmp_path)


def measured(tmp_path: Path, *arguments: str) -> dict[str, object]:
    output = tmp_path / "figures.json"
    common = ["--folder", str(tmp_path / "run"), "--output", str(output), "--vocabulary", "600"]
    load("pretrain_step").main([*arguments, *common])
    document: dict[str, object] = json.loads(output.read_text())
    return document


def test_random_volumes_of_two_batch_sizes(tmp_path: Path) -> None:
    document = measured(
        tmp_path, "--recipe", "smoke-crm-opposite", "--batch-sizes", "1", "2", "--tokens", "32", "--steps", "2",
        "--set", "data.unpaired=1", "reconstruction.paired=false",
    )  # fmt: skip
    small, large = document["settings"]  # type: ignore[misc]
    assert (small["batch_size"], small["unpaired"], large["batch_size"], large["unpaired"]) == (1, 1, 2, 2)
    assert large["model_tflop"] == pytest.approx(2 * small["model_tflop"], rel=0.01)
    for row in (small, large):
        assert row["volumes_per_second"] == pytest.approx((row["batch_size"] + row["unpaired"]) / row["seconds"])
        assert row["tflop_per_second"] == pytest.approx(row["model_tflop"] / row["seconds"])
        assert row["utilisation"] is None
        assert set(row["losses"]) == {"contrastive", "opposite", "report", "reconstruction"}
        assert 0.1 < row["peak_memory_gib"] < 100


def test_volumes_read_from_prepared_files(tmp_path: Path, prepared: Path) -> None:
    document = measured(
        tmp_path, "--recipe", "smoke-crm", "--batch-sizes", "2", "--steps", "2", "--warm-up", "1", "--workers", "0",
        "--data", str(prepared), "--set", "data.unpaired=1", "reconstruction.paired=false",
    )  # fmt: skip
    (row,) = document["settings"]  # type: ignore[misc]
    assert document["read_from_files"] is True
    assert 0 < row["waiting_for_data_s"] < row["seconds"]


def test_fewer_tokens_cost_less(tmp_path: Path) -> None:
    output = tmp_path / "masked.json"
    load("masked_encoding").main(["--recipe", "smoke-c", "--repeats", "1", "--output", str(output)])
    rows = json.loads(output.read_text())["rows"]
    assert [row["tokens"] for row in rows] == [216, 162, 108, 54, 22]
    shares = [row["cost_share"] for row in rows]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    assert all(share <= 1 - row["dropped"] + 0.01 for share, row in zip(shares, rows, strict=True))


def test_guesses_of_hidden_patches_err_as_they_must() -> None:
    torch = pytest.importorskip("torch")
    from colipri_training.network import PretrainNetwork
    from colipri_training.recipes.registry import RECIPES

    benchmark = load("reconstruction")
    network = PretrainNetwork(RECIPES["smoke-crm"](vocab_size=600)).eval()
    flat = benchmark.errors(network, torch.full((48, 48, 48), 0.25), draws=1, seed=0)
    assert flat["all"]["visible_mean"] == flat["all"]["nearest_patch"] == pytest.approx(0, abs=1e-9)
    assert flat["all"]["decoder"] > 0.01  # untrained
    halves = torch.full((48, 48, 48), -1.0)
    halves[24:] = 0.5
    rows = benchmark.errors(network, halves, draws=4, seed=0)
    # the variance, and by how much a quarter of the patches misjudges the mean
    assert rows["all"]["visible_mean"] == pytest.approx(0.75**2, rel=0.1)
    assert rows["all"]["nearest_patch"] < 0.5 * rows["all"]["visible_mean"]
    assert rows["not_air"]["visible_mean"] == pytest.approx(0.75**2, rel=0.2)


@pytest.mark.parametrize(
    ("name", "peak"), [("NVIDIA A100-SXM4-80GB", 312e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA H200", 989e12)]
)
def test_the_peak_goes_by_the_name_of_the_device(monkeypatch: pytest.MonkeyPatch, name: str, peak: float) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert load("pretrain_step").peak_of(torch.device("cuda")) == peak
