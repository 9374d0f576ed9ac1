"""Learning from a project's labels: heads for new structures, regions for the interactive model, bundles that open."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from click_bundles import save_random_clicks
from random_bundles import SIZE
from random_bundles import SPACING_MM
from random_bundles import save_random_bundle

import colipri_core as cc
from colipri_core.io import write_labelmap
from colipri_core.io import write_volume
from colipri_core.model.bundle import load_bundle
from colipri_core.model.click_bundle import load_click_bundle
from colipri_core.project import LabelProject
from colipri_core.project_labels import LabelledCase
from colipri_core.project_labels import labelled_cases
from colipri_training.cli.main import main
from colipri_training.clicks.config import ClickConfig
from colipri_training.clicks.episodes import Episodes
from colipri_training.project.scenes import ProjectScenes
from colipri_training.project.split import held_out
from colipri_training.project.structures import FineTuning
from colipri_training.project.structures import StructureTuning
from colipri_training.project.structures import starting_head
from colipri_training.project.volumes import ProjectVolumes
from colipri_training.project.volumes import structures_of

pytestmark = pytest.mark.filterwarnings("ignore::colipri_core.errors.VolumeWarning")

AFFINE = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
SEGMENTS = (cc.Segment(label=3, name="Block", code="99T:1"), cc.Segment(label=7, name="heart"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scans, each with a bright block and a dim one, labelled and done."""
    scans = tmp_path_factory.mktemp("project")
    for number in range(3):
        voxels = np.full((SIZE,) * 3, -900, dtype=np.int16)
        labelmap = np.zeros(voxels.shape, dtype=np.uint8)
        for label, hu, start in ((3, 700, 6 + 3 * number), (7, 0, 26 - 2 * number)):
            box = (slice(start, start + 14), slice(10, 34), slice(12 + number, 36))
            voxels[box], labelmap[box] = hu, label
        volume = cc.Volume(voxels=voxels, affine=AFFINE)
        write_volume(volume, scans / f"{number}.nii.gz")
        labels = cc.Segmentation(labelmap=labelmap, geometry=volume.geometry, segments=SEGMENTS)
        write_labelmap(labels, scans / f"{number}_dseg.nii.gz")
    project = LabelProject(scans)
    for case in project.cases:
        project.mark(case.name, "done")
    return scans


@pytest.fixture
def cases(folder: Path) -> tuple[LabelledCase, ...]:
    return labelled_cases(LabelProject(folder))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return save_random_bundle(tmp_path / "random")


class TestStructures:
    def test_names_and_codes_come_from_the_labels_the_vocabulary_or_the_command(self, cases) -> None:
        found = structures_of(cases)
        assert [(item.name, item.code) for item in found] == [("Block", "99T:1"), ("Heart", "SCT:80891009")]
        (renamed,) = structures_of(cases, ["block=SCT:123"])
        assert renamed.code == "SCT:123"
        with pytest.raises(ValueError, match="Labelled: Block, heart"):
            structures_of(cases, ["Thymus"])

    def test_labels_and_intensities_on_the_models_grid(self, cases, bundle: Path) -> None:
        spec = load_bundle(bundle).spec.preprocessing
        volumes = ProjectVolumes(cases, structures_of(cases), spec)
        hu, labels = volumes.read(0)
        assert hu.shape == labels.shape == (SIZE,) * 3
        assert set(labels.unique().tolist()) == {0, 1, 2}
        torch.testing.assert_close(hu[labels == 1].mean(), torch.tensor(700.0), atol=2.0, rtol=0)
        torch.testing.assert_close(hu[labels == 2].mean(), torch.tensor(0.0), atol=2.0, rtol=0)

    def test_one_is_held_out_from_three_on_and_never_all(self, cases) -> None:
        learned, judged = held_out(cases, share=0.2, seed=0)
        assert (len(learned), len(judged)) == (2, 1)
        assert {case.name for case in (*learned, *judged)} == {case.name for case in cases}
        assert held_out(cases[:2], share=0.2, seed=0)[1] == []
        assert len(held_out(cases, share=0.9, seed=0)[0]) == 1
        assert held_out(cases, share=0.0, seed=0)[1] == []

    def test_a_new_head_keeps_what_the_old_one_knows(self, cases, bundle: Path) -> None:
        loaded = load_bundle(bundle)
        old = loaded.structure_head
        assert old is not None
        head = starting_head(loaded, structures_of(cases))
        assert head.config.structures == ("Block", "Heart")
        torch.manual_seed(0)
        images, tokens = torch.randn(1, 1, 16, 16, 16), torch.randn(1, 24, 4, 4, 4)
        with torch.inference_mode():
            before, after = old.eval()(images, tokens), head.eval()(images, tokens)
        known = old.config.structures.index("Heart") + 1
        torch.testing.assert_close(after[:, 0], before[:, 0])
        torch.testing.assert_close(after[:, 2], before[:, known])

    def test_fine_tuning_raises_dice_on_the_held_out_case_and_goes_on_exactly(
        self, cases, bundle: Path, tmp_path
    ) -> None:
        config = FineTuning(steps=60, learning_rate=1e-2)

        def tuning(folder: str) -> StructureTuning:
            loaded = load_bundle(bundle)
            return StructureTuning(loaded, cases, structures_of(cases), folder=tmp_path / folder, config=config)

        whole = tuning("run")
        before = np.mean(list(whole.scores().values()))
        frozen = {name: value.clone() for name, value in whole.bundle.model.state_dict().items()}
        whole.trainer.run()
        after = np.mean(list(whole.scores().values()))
        assert after > before + 0.15
        assert whole.trainer.best == pytest.approx(after, abs=1e-6)
        for name, value in whole.bundle.model.state_dict().items():
            assert torch.equal(value, frozen[name])
        again = tuning("run")
        assert again.trainer.step == 60
        assert again.scores() == whole.scores()

    def test_an_encoder_that_learns_changes_and_loses_what_no_longer_fits(self, cases, tmp_path: Path) -> None:
        loaded = load_bundle(save_random_bundle(tmp_path / "b", calibration={"SCT:60046008": (1.0, 0.0)}))
        frozen = {name: value.clone() for name, value in loaded.model.image_encoder.state_dict().items()}
        config = FineTuning(steps=2, encoder_share=0.1, validation=0.0)
        run = StructureTuning(loaded, cases, structures_of(cases), folder=tmp_path / "run", config=config)
        run.trainer.run()
        changed = [
            name
            for name, value in loaded.model.image_encoder.state_dict().items()
            if not torch.equal(value, frozen[name])
        ]
        assert changed
        spec = run.export(tmp_path / "out", source="project", licence="CC0-1.0", storage="float16")
        assert spec.calibration is None
        assert spec.storage == "float16"
        assert "which the encoder learned from as well" in spec.training_data

    def test_the_command_writes_a_bundle_that_opens_with_names_and_codes(self, folder, bundle, tmp_path, capsys):
        command = ["structures", "--project", folder, "--init", bundle, "--output", tmp_path / "run", "--steps", 2]
        assert main([str(part) for part in (*command, "--licence", "CC0-1.0", "--half")]) == 0
        assert "Block: Dice" in capsys.readouterr().out
        with cc.open_engine(tmp_path / "run" / "bundle", device="cpu", cache_dir=tmp_path / "cache") as engine:
            known = [(item.name, item.code) for item in engine.capabilities.structures]
            assert known == [("Block", "99T:1"), ("Heart", "SCT:80891009")]
            assert not engine.card.synthetic
            assert "2 labelled volumes" in engine.card.training_data
            assert engine.card.licence == "CC0-1.0"
            with engine.open(cc.read_volume(folder / "0.nii.gz")) as session:
                found = session.segment(["Block"])
        assert found.segments[0].name == "Block"

    def test_a_project_without_done_cases_is_refused(self, folder: Path, bundle: Path, tmp_path: Path, capsys) -> None:
        (tmp_path / "scans").mkdir()
        (tmp_path / "scans" / "a.nii.gz").write_bytes((folder / "0.nii.gz").read_bytes())
        command = ["structures", "--project", tmp_path / "scans", "--init", bundle, "--output", tmp_path / "run"]
        assert main([str(part) for part in command]) == 3
        assert "marked done and labelled" in capsys.readouterr().err


class TestClicks:
    def test_regions_show_labelled_objects_at_several_sizes(self, cases) -> None:
        scenes = ProjectScenes(cases)
        assert len(scenes) == 6
        shares = []
        for seed in range(12):
            scene = scenes.draw(np.random.default_rng(seed), 24)
            assert scene is not None
            assert scene.hu.shape == scene.target.shape == (24,) * 3
            again = scenes.draw(np.random.default_rng(seed), 24)
            np.testing.assert_array_equal(again.hu, scene.hu)
            level = np.median(scene.hu[scene.target])
            assert min(abs(level - 700), abs(level - 0)) < 60
            shares.append(scene.target.mean())
        assert max(shares) > 3 * min(shares)

    def test_half_of_the_episodes_are_the_projects_and_the_rest_is_generated(self, cases) -> None:
        class Marked:
            def __init__(self) -> None:
                self.scenes, self.drawn = ProjectScenes(cases), 0

            def draw(self, rng, size):
                self.drawn += 1
                return self.scenes.draw(rng, size)

        config = ClickConfig(region=32, batch_size=12, chest_share=0.0, project_share=0.5, bf16=False)
        source = Marked()
        Episodes(config, source=source)
        assert 2 <= source.drawn <= 10
        untouched = Episodes(dataclasses.replace(config, batch_size=2))
        plain = Episodes(dataclasses.replace(config, batch_size=2, project_share=0.0))
        assert torch.equal(untouched.hu, plain.hu)

    def test_labels_too_small_to_learn_from_are_refused(self, cases) -> None:
        with pytest.raises(ValueError, match="at least 100000 voxels"):
            ProjectScenes(cases, smallest=100_000)

    def test_the_command_adapts_and_writes_a_bundle_for_clicks(self, folder: Path, tmp_path: Path, capsys, monkeypatch):
        small = ClickConfig(
            network=load_click_bundle(save_random_clicks(tmp_path / "start")).spec.architecture,
            region=16,
            shipped_region=32,
            batch_size=2,
            chest_share=0.0,
            project_share=0.5,
            warmup_steps=2,
            bf16=False,
            validation_scenes=2,
        )
        monkeypatch.setattr("colipri_training.clicks.config.adapting", lambda: small)
        command = ["clicks", "--project", folder, "--init", tmp_path / "start", "--output", tmp_path / "run"]
        options = ["--steps", 2, "--bundle", tmp_path / "mine", "--half", "--licence", "CC0-1.0"]
        assert main([str(part) for part in (*command, *options)]) == 0
        shown = capsys.readouterr().out
        assert "generated scenes, Dice after 5 prompts" in shown
        assert "held-out scans, Dice after 1 prompts" in shown
        loaded = load_click_bundle(tmp_path / "mine")
        assert loaded.spec.storage == "float16"
        assert not loaded.spec.synthetic
        assert "50% of them from 2 labelled volumes of" in loaded.spec.training_data
        bundle = save_random_bundle(tmp_path / "random")
        opened = cc.open_engine(bundle, device="cpu", cache_dir=tmp_path / "cache", clicks_model=tmp_path / "mine")
        volume = cc.read_volume(folder / "0.nii.gz")
        r, a, s = (float(value) for value in volume.geometry.index_to_world((12, 20, 20)))
        with opened as engine, engine.open(volume) as session:
            session.prompt(cc.Point(ras=(r, a, s)))
            provenance = session.segmentation.provenance
        assert provenance is not None
        assert provenance.model.name == "mine"
