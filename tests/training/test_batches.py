"""Prepared cases and the batches made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from colipri_training.data import augment
from colipri_training.data.batches import BatchMaker
from colipri_training.data.batches import choose_tokens
from colipri_training.data.batches import count_findings
from colipri_training.data.batches import finding_targets
from colipri_training.data.batches import region_targets
from colipri_training.data.config import DataConfig
from colipri_training.data.store import CaseStore
from colipri_training.data.text import SentenceBank
from colipri_training.run import Run


class TestStore:
    def test_reads_back_what_was_written(self, run_folder: Path, tmp_path: Path) -> None:
        case = CaseStore(run_folder / "cases").read(0)
        copy = CaseStore(tmp_path)
        copy.write(case)
        again = copy.read(0)
        for name in ("hu", "labels", "lesions"):
            np.testing.assert_array_equal(getattr(case, name), getattr(again, name))
        assert (again.present, again.report, again.sentences) == (case.present, case.report, case.sentences)

    def test_a_half_written_case_is_not_there(self, run_folder: Path, tmp_path: Path) -> None:
        store = CaseStore(tmp_path)
        store.write(CaseStore(run_folder / "cases").read(1))
        (tmp_path / "0000001" / "case.json").unlink()
        assert store.seeds() == []
        with pytest.raises(KeyError, match="no case 1"):
            store.read(1)


class TestBatches:
    def test_a_step_gives_the_same_batch_in_any_process_order(self, run_folder: Path) -> None:
        first, second = (Run("smoke", run_folder).trainer()._batches for _ in range(2))
        second(0)
        once, again = first(1), second(1)
        assert torch.equal(once.images, again.images)
        assert torch.equal(once.keep, again.keep)
        assert torch.equal(once.affirming[0], again.affirming[0])

    def test_every_epoch_shows_each_case_once(self, run_folder: Path) -> None:
        run = Run("smoke", run_folder)
        maker = BatchMaker(run.store, run.config, SentenceBank.from_store(run.store, range(4)), run.tokenize)
        for epoch in range(3):
            seen = [seed for step in range(2) for seed in maker.seeds(2 * epoch + step)]
            assert sorted(seen) == [0, 1, 2, 3]

    def test_values_and_shapes(self, run_folder: Path) -> None:
        batch = Run("smoke", run_folder).trainer()._batches(0)
        assert batch.images.shape == (2, 1, 48, 48, 48)
        assert batch.images.min() >= -1
        assert batch.images.max() <= 1
        assert batch.keep.shape == (2, 64)
        assert batch.regions.shape == (2, 18, 64)
        assert batch.keep.unique(dim=1).shape == batch.keep.shape

    def test_a_finding_only_dropped_tokens_show_is_left_out(self) -> None:
        regions = torch.zeros(1, 3, 4, dtype=torch.int8)
        regions[0, 0, 3] = 1
        regions[0, 1, 0] = 1
        targets = finding_targets(regions, torch.tensor([[0, 1]]))
        assert targets.tolist() == [[-1, 1, 0]]


class TestChoiceOfTokens:
    DATA = DataConfig(train_cases=1, validation_cases=1, batch_size=1, tokens=20, lesion_share=0.35, air_share=0.1)

    def choose(self, regions: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        return choose_tokens(regions, inside, self.DATA, torch.Generator().manual_seed(3))[0]

    def test_lesions_and_air_get_their_share_and_the_body_the_rest(self) -> None:
        regions = torch.zeros(1, 18, 100, dtype=torch.int8)
        regions[0, 4, 40:50] = 1
        inside = torch.arange(100)[None] < 60
        for _ in range(2):
            kept = self.choose(regions, inside)
            assert len(kept.unique()) == 20
            assert ((kept >= 40) & (kept < 50)).sum() >= 7
            assert (kept >= 60).sum() == 2

    def test_a_body_smaller_than_the_choice_is_filled_up_with_air(self) -> None:
        kept = self.choose(torch.zeros(1, 18, 100, dtype=torch.int8), torch.arange(100)[None] < 5)
        assert len(kept) == 20
        assert (kept < 5).sum() == 5


class TestRegions:
    def test_counts_move_with_the_volume_and_lose_what_leaves_it(self) -> None:
        lesions = torch.zeros(16, 16, 16, dtype=torch.int32)
        lesions[5:8, 0, 0] = 1 << 9
        counts = count_findings(lesions, (9,), 8, (2, 0, 0))
        assert counts[9].nonzero().flatten().tolist() == [0, 4]
        assert counts[9].sum() == 3
        assert count_findings(lesions, (9,), 8, (0, -1, 0)).sum() == 0

    def test_counts_follow_the_bits(self) -> None:
        lesions = torch.zeros(16, 16, 16, dtype=torch.int32)
        lesions[0:3, 0, 0] = 1 << 9
        lesions[8, 8, 8] = (1 << 9) | (1 << 2)
        counts = count_findings(lesions, (2, 9), 8)
        assert counts[9].tolist() == [3, 0, 0, 0, 0, 0, 0, 1]
        assert counts[2].sum() == 1

    def test_a_token_with_a_trace_is_neither_positive_nor_negative(self) -> None:
        assert region_targets(torch.tensor([[0.0, 1.0, 9.0, 30.0]])).tolist() == [[0, -1, 1, 1]]


class TestAugmentation:
    def test_shift_moves_voxels_and_fills_the_rest(self) -> None:
        volume = torch.arange(27.0).reshape(3, 3, 3)
        moved = augment.shift(volume, (1, 0, -1), fill=-5.0)
        assert moved[1, 0, 0] == volume[0, 0, 1]
        assert (moved[0] == -5).all()
        assert (moved[..., 2] == -5).all()

    def test_air_stays_air_under_gain(self) -> None:
        drawn = augment.Augmentation(shift=(0, 0, 0), offset_hu=0, gain=1.04, noise_hu=0, blur=(0, 0, 0), seed=0)
        assert augment.apply_to_image(torch.full((4, 4, 4), -1000.0), drawn).unique().tolist() == [-1000.0]

    def test_bend_is_monotone(self) -> None:
        hu = torch.linspace(-1000, 1500, 500).reshape(5, 10, 10)
        bent = augment.bend(hu, np.random.default_rng(0)).ravel()
        assert (bent.diff() >= 0).all()

    def test_rescale_moves_labels_with_voxels(self) -> None:
        hu = torch.full((32, 32, 32), -1000.0)
        hu[8:24, 10:20, 12:22] = 0.0
        labels = (hu > -500).long()
        moved, outlined = augment.rescale(hu, labels, np.random.default_rng(3))
        agreement = ((moved > -500) == (outlined > 0)).float().mean()
        assert agreement > 0.98
        assert not torch.equal(outlined, labels)

    def test_cover_leaves_a_run_of_slices_and_air_beyond_it(self) -> None:
        hu, labels = torch.zeros(4, 4, 20), torch.ones(4, 4, 20, dtype=torch.long)
        heights = []
        for seed in range(40):
            seen, outlined = augment.cover(hu, labels, np.random.default_rng(seed))
            covered = seen[0, 0] == 0
            heights.append(int(covered.sum()))
            assert int(covered.int().diff().abs().sum()) <= 2
            assert torch.equal(seen, torch.where(covered, 0.0, -1000.0).expand(4, 4, 20))
            assert torch.equal(outlined, covered.long().expand(4, 4, 20))
        assert 10 <= sum(height == 20 for height in heights) <= 30
        assert min(heights) < 10
        assert (hu == 0).all()
