"""`colipri-train evaluate` as a whole: two bundles side by side, features kept, and what cannot be done said."""

from __future__ import annotations

import csv
import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import SPEC
from data_sets import make_manifest
from evaluation_sets import EFFUSION
from evaluation_sets import GRID
from evaluation_sets import NODULE
from evaluation_sets import prepare_chests
from evaluation_sets import save_bundle_on_grid
from random_bundles import save_random_bundle
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from colipri_core.errors import BundleError
from colipri_core.model.bundle import load_bundle
from colipri_core.model.bundle import read_spec
from colipri_core.model.bundle import save_bundle
from colipri_training.cli.main import app
from colipri_training.data.prepare import PrepareOptions
from colipri_training.data.prepare import prepare
from colipri_training.data.prepared import PreparedDataError
from colipri_training.evaluation.bench import RunOptions
from colipri_training.evaluation.cases import PhantomSource
from colipri_training.evaluation.cases import PreparedSource
from colipri_training.evaluation.cases import Source
from colipri_training.evaluation.encoder import Encoder
from colipri_training.evaluation.errors import NoCasesError
from colipri_training.evaluation.evaluate import EvaluationOptions
from colipri_training.evaluation.evaluate import evaluate
from colipri_training.evaluation.probes import ProbeOptions

FAST = ProbeOptions(poolings=("mean", "mean-query"), epochs=8, seeds=1, learning_rate=1e-2, batch_size=6)


def run(sources: list[Source], output: Path, *models: Path, **options: object) -> dict:
    settings = RunOptions(output=output, probe=FAST, resamples=50, outlined=1, **options)
    return evaluate(sources, EvaluationOptions(models=tuple(map(str, models)), run=settings, device="cpu"))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One without a report decoder, whose tokens tell how dense their patch is, and one with a decoder."""
    folder = tmp_path_factory.mktemp("bundles")
    return save_bundle_on_grid(folder / "local"), save_bundle_on_grid(folder / "writer", seed=1, decoder=True)


@pytest.fixture(scope="module")
def chests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_chests(tmp_path_factory.mktemp("chests"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, bundles: tuple[Path, Path], chests: Path) -> tuple[Path, dict]:
    output = tmp_path_factory.mktemp("results") / "out"
    return output, run([PreparedSource(chests)], output, *bundles, calibrate=True)


class Page(HTMLParser):
    """What a page links to or loads, and how many drawings and tables it has."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]


class TestTwoBundles:
    def test_the_written_document_is_the_returned_one(self, results: tuple[Path, dict]) -> None:
        output, document = results
        written = json.loads((output / "evaluation.json").read_text(), parse_constant=pytest.fail)

        assert written == json.loads(json.dumps(document))
        assert [model["name"] for model in written["models"]] == ["local", "writer"]

    def test_figures_say_on_what_they_rest(self, results: tuple[Path, dict]) -> None:
        section = results[1]["models"][0]["datasets"]["prepared"]

        assert (section["cases"], section["patients"], section["fitted_on"]) == (24, 24, "prepared")
        assert section["zero_shot"]["short"]["labels"] == "ct-rate-2"
        assert section["probes"]["training_cases"] == 12
        assert section["retrieval"]["pool"] == 24
        assert "40 validation cases" in section["zero_shot"]["engine"]["thresholds"]

    def test_every_prompt_set_is_measured_but_that_of_phantoms(self, results: tuple[Path, dict]) -> None:
        assert set(results[1]["models"][0]["datasets"]["prepared"]["zero_shot"]) == {
            "short",
            "ct-clip",
            "long",
            "engine",
        }

    def test_a_probe_on_tokens_that_see_density_tells_fluid(self, results: tuple[Path, dict]) -> None:
        poolings = results[1]["models"][0]["datasets"]["prepared"]["probes"]["poolings"]
        for part in poolings.values():
            rows = {row["name"]: row for row in part["findings"]}
            assert rows[EFFUSION]["auroc"]["value"] > 0.95
            assert "One label only" in rows[NODULE]["note"]

    def test_predictions_give_the_figures_again(self, results: tuple[Path, dict]) -> None:
        output, document = results
        with (output / "predictions" / "local_prepared_probe-mean.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        labels, scores = ([float(row[f"{side}:{EFFUSION}"]) for row in rows] for side in ("label", "probability"))
        findings = document["models"][0]["datasets"]["prepared"]["probes"]["poolings"]["mean"]["findings"]

        told = next(row["auroc"]["value"] for row in findings if row["name"] == EFFUSION)
        assert roc_auc_score(labels, scores) == pytest.approx(told, abs=1e-4)

    def test_only_the_bundle_with_a_decoder_writes(self, results: tuple[Path, dict]) -> None:
        first, second = (model["datasets"]["prepared"]["reports"] for model in results[1]["models"])

        assert "no report decoder" in first["generated"]["not_done"]
        assert second["generated"]["reports"] == first["nearest"]["reports"] == 24
        assert 0 <= second["generated"]["bleu_1"] <= 1

    def test_what_was_not_done_is_told_with_its_reason(self, results: tuple[Path, dict]) -> None:
        section = results[1]["models"][0]["datasets"]["prepared"]

        assert section["structures"]["not_done"] == "This data set has no masks of structures."
        assert section["pointing"]["not_done"] == "This data set has no masks of findings."

    def test_differences_are_paired(self, results: tuple[Path, dict]) -> None:
        _, document = results
        row = next(row for row in document["comparisons"] if row["method"] == "probe mean")
        values = [
            model["datasets"]["prepared"]["probes"]["poolings"]["mean"]["macro"]["auroc"]["value"]
            for model in document["models"]
        ]
        assert (row["model"], row["than"]) == ("writer", "local")
        assert row["macro_auroc"]["value"] == pytest.approx(values[1] - values[0], abs=1e-4)

    def test_the_page_stands_alone(self, results: tuple[Path, dict]) -> None:
        text = (results[0] / "evaluation.html").read_text()
        page = Page()
        page.feed(text)

        assert [link for link in page.links if not link.startswith("#")] == []
        assert page.tags.count("svg") >= 3
        assert "script" not in page.tags
        for told in ("For research only", "local", "writer", EFFUSION, "no report decoder", "recall at 1"):
            assert told in text

    def test_the_copy_is_calibrated_for_what_had_enough_cases(self, results: tuple[Path, dict]) -> None:
        output, document = results
        section = document["models"][0]["datasets"]["prepared"]["calibration"]
        spec = read_spec(output / section["bundle"])

        assert (section["validation_cases"], section["cases"]) == (40, 24)
        assert section["calibrated"] == 1
        assert list(spec.calibration or {}) == ["SCT:60046008"]
        assert section["mean"]["after"]["brier"] <= section["mean"]["before"]["brier"]


class TestFeatures:
    def test_a_second_run_encodes_nothing(
        self, results: tuple[Path, dict], bundles: tuple[Path, Path], chests: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Encoder, "grid", lambda *_: pytest.fail("a volume was encoded again"))
        again = run([PreparedSource(chests)], results[0], bundles[1], tasks=("zero-shot", "retrieval", "reports"))

        before = results[1]["models"][1]["datasets"]["prepared"]
        for part in ("zero_shot", "retrieval", "reports"):
            assert again["models"][0]["datasets"]["prepared"][part] == before[part]

    def test_what_was_cut_or_belongs_to_others_is_computed_again(
        self, tmp_path: Path, bundles: tuple[Path, Path], chests: Path
    ) -> None:
        first = run([PreparedSource(chests)], tmp_path, bundles[0], tasks=("retrieval",))
        files = sorted((tmp_path / "features").glob("*/prepared/test/*.safetensors"))
        files[0].write_bytes(files[0].read_bytes()[:100])
        files[1].write_bytes(files[2].read_bytes())
        files[3].unlink()
        second = run([PreparedSource(chests)], tmp_path, bundles[0], tasks=("retrieval",))

        assert len(files) == 24
        assert second["models"] == first["models"]

    def test_another_grid_or_padding_is_another_model(
        self, tmp_path: Path, bundles: tuple[Path, Path], chests: Path
    ) -> None:
        spec = dataclasses.replace(GRID, padding="minimum", size=(20, 20, 20))
        other = save_random_bundle(tmp_path / "local", local=True, preprocessing=spec)
        run([PreparedSource(chests)], tmp_path / "out", bundles[0], other, tasks=("retrieval",))

        assert len(list((tmp_path / "out" / "features").iterdir())) == 2

    def test_a_calibrated_copy_reads_the_features_of_the_model(
        self, results: tuple[Path, dict], chests: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Encoder, "grid", lambda *_: pytest.fail("a volume was encoded again"))
        copy = results[0] / "calibrated" / "local"
        section = run([PreparedSource(chests)], results[0], copy, tasks=("zero-shot",))["models"][0]["datasets"]
        told = results[1]["models"][0]["datasets"]["prepared"]["calibration"]

        assert section["prepared"]["quality"]["calibrated"] is True
        rows = {row["name"]: row for row in section["prepared"]["quality"]["findings"]}
        expected = next(row for row in told["findings"] if row["name"] == EFFUSION)["after"]
        assert rows[EFFUSION]["brier"] == pytest.approx(expected["brier"])


class TestPhantoms:
    def test_masks_give_overlap_and_the_pointing_game(self, tmp_path: Path, bundles: tuple[Path, Path]) -> None:
        source = PhantomSource(tmp_path / "store", {"test": 2})
        document = run([source], tmp_path / "out", bundles[0], tasks=("zero-shot", "structures"))
        section = document["models"][0]["datasets"]["phantoms"]

        assert section["structures"]["cases"] == 1
        assert 0 <= section["structures"]["mean"]["dice"]["value"] <= 1
        assert 0 <= section["structures"]["mean"]["nsd"]["value"] <= 1
        assert section["pointing"]["focal"]["value"] is not None
        assert "unseen" in section["zero_shot"]
        assert section["zero_shot"]["engine"]["thresholds"].startswith("0.5 for all")
        assert "Not a clinical figure" in section["notes"][0]

    def test_only_the_splits_that_are_needed_are_generated(self, tmp_path: Path, bundles: tuple[Path, Path]) -> None:
        source = PhantomSource(tmp_path / "store", {"test": 1, "train": 5})
        run([source], tmp_path / "out", bundles[0], tasks=("retrieval",))

        assert [path.name for path in (tmp_path / "store").glob("*/*")] == ["2000000"]

    def test_another_orientation_is_refused(self, tmp_path: Path) -> None:
        spec = dataclasses.replace(GRID, orientation="SAR")
        bundle = save_random_bundle(tmp_path / "turned", preprocessing=spec)
        with pytest.raises(NoCasesError, match="the model wants SAR"):
            run([PhantomSource(tmp_path / "store", {"test": 1})], tmp_path / "out", bundle)


class TestBadInput:
    def test_a_set_without_test_cases_is_refused(self, tmp_path: Path, bundles: tuple[Path, Path]) -> None:
        folder = prepare_chests(tmp_path / "in", splits={"train": 2})
        with pytest.raises(NoCasesError, match=r'Expected cases to test in "prepared", found none.*--external'):
            run([PreparedSource(folder)], tmp_path / "out", bundles[0])

    def test_nothing_to_evaluate_on_is_refused(self, tmp_path: Path, bundles: tuple[Path, Path]) -> None:
        with pytest.raises(NoCasesError, match="phantoms, or a prepared data set"):
            run([], tmp_path, bundles[0])

    def test_another_grid_is_refused(self, tmp_path: Path, bundles: tuple[Path, Path]) -> None:
        prepare(make_manifest(tmp_path / "in", paired=1), tmp_path / "prepared", PrepareOptions(spec=SPEC))
        with pytest.raises(PreparedDataError, match="Prepare the data set"):
            run([PreparedSource(tmp_path / "prepared", external=True)], tmp_path / "out", bundles[0])
        assert GRID.spacing_mm != SPEC.spacing_mm

    def test_two_sets_of_one_name_are_refused(self, tmp_path: Path, bundles: tuple[Path, Path], chests: Path) -> None:
        with pytest.raises(ValueError, match='found "prepared" twice'):
            run([PreparedSource(chests), PreparedSource(chests)], tmp_path, bundles[0])

    def test_without_training_or_validation_cases_the_rest_is_done(
        self, tmp_path: Path, bundles: tuple[Path, Path]
    ) -> None:
        folder = prepare_chests(tmp_path / "in", splits={"test": 4})
        document = run([PreparedSource(folder)], tmp_path / "out", bundles[0], calibrate=True)
        section = document["models"][0]["datasets"]["prepared"]

        assert section["probes"]["not_done"] == "There are no training cases to fit a probe on."
        assert "No finding has 20 validation cases" in section["calibration"]["not_done"]
        assert section["zero_shot"]["engine"]["macro"]["auroc"]["value"] is not None
        assert not (tmp_path / "out" / "calibrated").exists()

    def test_an_external_set_alone_has_no_probe(self, tmp_path: Path, bundles: tuple[Path, Path]) -> None:
        folder = prepare_chests(tmp_path / "in", splits={"train": 4})
        section = run([PreparedSource(folder, external=True)], tmp_path / "out", bundles[0])["models"][0]["datasets"]

        assert section["prepared"]["fitted_on"] is None
        assert "not_done" in section["prepared"]["probes"]

    def test_an_external_set_takes_the_probe_of_the_other(
        self, tmp_path: Path, bundles: tuple[Path, Path], chests: Path
    ) -> None:
        other = prepare_chests(tmp_path / "in", splits={"train": 4}).rename(tmp_path / "elsewhere")
        sources = [PreparedSource(chests), PreparedSource(other, external=True)]
        section = run(sources, tmp_path / "out", bundles[0], tasks=("probe",))["models"][0]["datasets"]["elsewhere"]

        assert (section["cases"], section["fitted_on"]) == (4, "prepared")
        assert section["probes"]["training_cases"] == 12
        assert "40 validation cases" in section["probes"]["poolings"]["mean"]["thresholds"]

    def test_unlabelled_volumes_without_reports_have_no_figures_of_findings(
        self, tmp_path: Path, bundles: tuple[Path, Path]
    ) -> None:
        spec = PrepareOptions(spec=GRID)
        prepare(make_manifest(tmp_path / "in", paired=0, image_only=2), tmp_path / "silent", spec)
        section = run([PreparedSource(tmp_path / "silent", external=True)], tmp_path / "out", bundles[0])
        parts = section["models"][0]["datasets"]["silent"]

        assert "No case under test is labelled" in parts["zero_shot"]["not_done"]
        assert "at least two cases with a report" in parts["retrieval"]["not_done"]
        assert "No case under test has a report" in parts["reports"]["not_done"]
        assert "No case under test is labelled" in (tmp_path / "out" / "evaluation.html").read_text()

    def test_unknown_tasks_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="got colouring"):
            RunOptions(output=tmp_path, tasks=("colouring",))

    def test_a_model_that_gives_no_numbers_is_named(self, tmp_path: Path, chests: Path) -> None:
        bundle = load_bundle(save_random_bundle(tmp_path / "whole", preprocessing=GRID))
        torch.nn.init.constant_(bundle.model.image_encoder.projector.bias, float("nan"))
        spec = dataclasses.replace(bundle.spec, name="broken")
        save_bundle(
            tmp_path / "broken",
            spec=spec,
            model=bundle.model,
            tokenizer=bundle.tokenizer,
            structure_head=bundle.structure_head,
        )
        with pytest.raises(BundleError, match=r'the model "broken" gave NaN or infinity for "test000"'):
            run([PreparedSource(chests)], tmp_path / "out", tmp_path / "broken")

    def test_an_odd_name_stays_inside_the_output(self, tmp_path: Path, chests: Path) -> None:
        odd = save_random_bundle(tmp_path / "odd", preprocessing=GRID, name="../<b>odd</b>")
        document = run([PreparedSource(chests)], tmp_path / "deep" / "out", odd, tasks=("zero-shot",), calibrate=True)

        assert {path.name for path in tmp_path.iterdir()} == {"odd", "odd-vocab.txt", "deep"}
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
        assert "<b>" not in (tmp_path / "deep" / "out" / "evaluation.html").read_text()
        assert document["models"][0]["card"]["name"] == "../<b>odd</b>"


class TestCommand:
    def test_it_prints_the_summary_and_where_the_report_is(
        self, results: tuple[Path, dict], bundles: tuple[Path, Path], chests: Path
    ) -> None:
        arguments = ["evaluate", "--output", str(results[0].parent / "cli"), "--prepared", str(chests)]
        arguments += [
            "--model",
            str(bundles[0]),
            "--model",
            str(bundles[0]),
            "--task",
            "zero-shot",
            "--resamples",
            "20",
        ]
        found = CliRunner().invoke(app, arguments, catch_exceptions=False)

        assert found.exit_code == 0
        assert "zero-shot, short prompts: macro AUROC" in found.stdout
        assert "evaluation.html" in found.stdout
        document = json.loads((results[0].parent / "cli" / "evaluation.json").read_text())
        names = [model["name"] for model in document["models"]]
        assert len(set(names)) == 2
        assert np.allclose(document["comparisons"][0]["macro_auroc"]["value"], 0.0)

    def test_it_says_on_how_many_cases_it_calibrated(
        self, results: tuple[Path, dict], bundles: tuple[Path, Path], chests: Path
    ) -> None:
        arguments = ["evaluate", "--output", str(results[0]), "--prepared", str(chests), "--model", str(bundles[0])]
        found = CliRunner().invoke(app, [*arguments, "--task", "zero-shot", "--calibrate"], catch_exceptions=False)

        assert "local: 1 findings calibrated on 40 validation cases. On 24 test cases, mean Brier score" in found.stdout
        assert f"Calibrated copy: {results[0] / 'calibrated' / 'local'}" in found.stdout
