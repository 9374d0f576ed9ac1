"""Devices, precision, memory, and what a bundle's spec decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from chests import chest
from random_bundles import save_random_bundle

from colipri_core.engine import open_engine
from colipri_core.errors import BundleError
from colipri_core.errors import Cancelled
from colipri_core.inference import devices
from colipri_core.inference.devices import choose_device
from colipri_core.inference.devices import choose_precision
from colipri_core.inference.features import FeatureStore
from colipri_core.inference.local import LocalEngine
from colipri_core.inference.runtime import ModelRuntime
from colipri_core.inference.texts import PromptPair
from colipri_core.inference.zero_shot import score
from colipri_core.model.bundle import load_bundle
from colipri_core.model.config import ModelConfig
from colipri_core.progress import CancelToken

VOLUME = chest()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_bundle(tmp_path_factory.mktemp("runtime") / "random", structures=False)


@pytest.fixture
def engine(bundle: Path, tmp_path: Path):
    with open_engine(bundle, device="cpu", cache_dir=tmp_path / "cache") as engine:
        yield engine


class TestDevice:
    def test_auto_is_the_cpu_where_there_is_no_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(devices, "_is_present", lambda device: device.type == "cpu")
        assert choose_device() == torch.device("cpu")

    def test_a_gpu_that_cannot_compute_is_not_used_and_that_is_said(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(devices, "_is_present", lambda device: device.type != "mps")
        monkeypatch.setattr(devices, "probe", lambda device: "no kernel image" if device.type == "cuda" else "")
        assert choose_device() == torch.device("cpu")
        assert "no kernel image" in caplog.text

    @pytest.mark.parametrize("name", ["abacus", "cuda:99", "", "cpu:x"])
    def test_an_unusable_device_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"[Dd]evice"):
            choose_device(name)

    def test_the_probe_computes(self) -> None:
        assert devices.probe(torch.device("cpu")) == ""


class TestPrecision:
    def test_small_models_are_exact(self, bundle: Path) -> None:
        config = load_bundle(bundle).model.config
        assert choose_precision(config, torch.device("cpu")) == torch.float32

    @pytest.mark.parametrize(("fast", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
    def test_the_published_size_follows_the_hardware(
        self, monkeypatch: pytest.MonkeyPatch, fast: bool, expected: torch.dtype
    ) -> None:
        monkeypatch.setattr(devices, "has_fast_bfloat16", lambda device: fast)
        assert choose_precision(ModelConfig.published(), torch.device("cpu")) == expected

    def test_the_environment_decides(self, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        with open_engine(bundle, device="cpu", cache_dir=tmp_path) as engine, engine.open(VOLUME) as session:
            exact = session.classify()
        monkeypatch.setenv("COLIPRI_PRECISION", "bf16")
        with open_engine(bundle, device="cpu", cache_dir=tmp_path) as engine, engine.open(VOLUME) as session:
            rough = session.classify()
            again = session.classify()
        with open_engine(bundle, device="cpu", cache_dir=tmp_path) as engine, engine.open(VOLUME) as session:
            cached = session.classify()
        assert (exact.provenance.precision, rough.provenance.precision) == ("float32", "bfloat16")
        assert "encode" in rough.provenance.timings, "float32 features must not be reused"
        assert "encode (cached)" in cached.provenance.timings
        assert rough.items == again.items == cached.items
        gap = np.subtract([f.probability for f in exact], [f.probability for f in rough])
        assert 0 < np.abs(gap).max() < 0.02

    def test_nonsense_is_refused(self, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLIPRI_PRECISION", "int4")
        with pytest.raises(ValueError, match="int4"):
            open_engine(bundle, device="cpu")


class TestMemory:
    def test_a_full_gpu_means_the_cpu_and_a_warning(
        self, engine: LocalEngine, bundle: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with engine.open(VOLUME) as session:
            expected = session.classify().items
        runtime = ModelRuntime(load_bundle(bundle), torch.device("cpu"))
        runtime.device = torch.device("cuda", 0)
        full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        honest = ModelRuntime.encode

        def encode(self: ModelRuntime, *arguments: object) -> torch.Tensor:
            if self.device.type == "cuda":
                raise full
            return honest(self, *arguments)

        monkeypatch.setattr(ModelRuntime, "encode", encode)
        with LocalEngine(runtime, engine._worker, engine._cache) as fallen:
            engine._cache.clear()
            with fallen.open(VOLUME) as session:
                found = session.classify()
            assert fallen.device == "cpu"
        assert found.items == expected
        assert found.provenance.device == "cpu"
        assert any("cuda:0 ran out of memory" in warning for warning in found.provenance.warnings)

    def test_other_errors_are_not_swallowed(self, bundle: Path) -> None:
        runtime = ModelRuntime(load_bundle(bundle), torch.device("cpu"))
        runtime.device = torch.device("cuda", 0)

        def fail() -> None:
            raise RuntimeError("device-side assert triggered")

        with pytest.raises(RuntimeError, match="assert"):
            runtime.on_device(fail)

    def test_memory_of_the_cpu_is_not_retried(self, bundle: Path) -> None:
        runtime = ModelRuntime(load_bundle(bundle), torch.device("cpu"))
        calls = []

        def fail() -> None:
            calls.append(1)
            raise RuntimeError("DefaultCPUAllocator: out of memory")

        with pytest.raises(RuntimeError, match="out of memory"):
            runtime.on_device(fail)
        assert len(calls) == 1


class TestSpec:
    def test_the_probability_is_the_softmax_over_the_pair(self) -> None:
        torch.manual_seed(0)
        present, absent, pooled = torch.nn.functional.normalize(torch.randn(3, 24), dim=1)
        pair = PromptPair(present=present, absent=absent)
        found = score("halo", pair, pooled, temperature=0.07)
        expected = (torch.stack([pooled @ present, pooled @ absent]) / 0.07).softmax(dim=0)[0]
        assert found.probability == pytest.approx(float(expected), abs=1e-6)

    def test_calibration_is_applied_and_said(self) -> None:
        torch.manual_seed(0)
        present, absent, pooled = torch.nn.functional.normalize(torch.randn(3, 24), dim=1)
        pair = PromptPair(present=present, absent=absent)
        raw = score("emphysema", pair, pooled, temperature=0.5)
        logit = np.log(raw.probability / (1 - raw.probability))
        fitted = score("Emphysema", pair, pooled, temperature=0.5, calibration={"SCT:87433001": [2.0, -1.0]})
        assert fitted.probability == pytest.approx(1 / (1 + np.exp(-(2 * logit - 1))), abs=1e-6)
        assert (raw.calibrated, fitted.calibrated) == (False, True)

    @pytest.mark.parametrize("logit", [-1e4, 1e4])
    def test_extreme_scores_do_not_overflow(self, logit: float) -> None:
        unit = torch.tensor([1.0, 0.0])
        pair = PromptPair(present=unit, absent=torch.tensor([0.0, 1.0]))
        assert score("halo", pair, unit, temperature=1 / logit).probability in (0.0, 1.0)

    def test_an_unknown_vocabulary_is_refused(self, tmp_path: Path) -> None:
        folder = save_random_bundle(tmp_path / "other", structures=False, vocabulary="my-list")
        with pytest.raises(BundleError, match="my-list"):
            open_engine(folder, device="cpu")

    def test_preprocessing_and_weights_are_part_of_the_key(self, bundle: Path, tmp_path: Path) -> None:
        other = save_random_bundle(tmp_path / "random", structures=False, seed=1)
        keys = set()
        for folder, volume in ((bundle, VOLUME), (other, VOLUME), (bundle, chest(seed=1))):
            runtime = ModelRuntime(load_bundle(folder), torch.device("cpu"))
            keys.add(FeatureStore(runtime, volume, None)._key())  # type: ignore[arg-type]
        assert len(keys) == 3


class TestOpening:
    def test_it_reports_progress_and_is_warm(self, bundle: Path, tmp_path: Path) -> None:
        seen: list[tuple[float, str]] = []
        with open_engine(bundle, device="cpu", cache_dir=tmp_path, progress=lambda *report: seen.append(report)):
            pass
        fractions = [fraction for fraction, _ in seen]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0
        assert any("Warming up" in message for _, message in seen)

    def test_it_can_be_cancelled(self, bundle: Path) -> None:
        token = CancelToken()
        token.cancel()
        with pytest.raises(Cancelled):
            open_engine(bundle, device="cpu", cancel=token)

    def test_cached_answers_equal_fresh_ones(self, engine: LocalEngine) -> None:
        with engine.open(VOLUME) as session:
            fresh = (session.classify(), session.evidence("lung nodule"))
        with engine.open(chest()) as session:
            cached = (session.classify(), session.evidence("lung nodule"))
        assert "encode (cached)" in cached[0].provenance.timings
        assert fresh[0].items == cached[0].items
        np.testing.assert_array_equal(fresh[1].values, cached[1].values)

    def test_a_damaged_cache_entry_is_encoded_again(self, engine: LocalEngine) -> None:
        with engine.open(VOLUME) as session:
            fresh = session.classify()
        (entry,) = engine._cache.folder.glob("*.npz")
        entry.write_bytes(entry.read_bytes()[:1000])
        with engine.open(VOLUME) as session:
            again = session.classify()
        assert "encode" in again.provenance.timings
        assert again.items == fresh.items
