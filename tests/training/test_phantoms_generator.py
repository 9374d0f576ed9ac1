"""The generator: the same seed is the same patient, alone or in a batch, on a coarse or a fine grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.phantoms import PhantomGrid
from colipri_training.phantoms import generate
from colipri_training.phantoms import generate_case
from colipri_training.phantoms import split_of
from colipri_training.phantoms import structures
from colipri_training.phantoms.generator import NUM_FINDINGS
from colipri_training.phantoms.generator import draw_phantom
from colipri_training.phantoms.prevalence import PREVALENCE
from colipri_training.phantoms.prevalence import draw_presence

COARSE = PhantomGrid(shape=(64, 64, 64), spacing=(6.0, 6.0, 6.0))


class TestDeterminism:
    def test_a_phantom_does_not_depend_on_its_batch(self) -> None:
        together, alone = generate([5, 11], COARSE), generate([11], COARSE)
        assert torch.equal(together.hu[1], alone.hu[0])
        assert torch.equal(together.labels[1], alone.labels[0])
        assert torch.equal(together.lesions[1], alone.lesions[0])
        assert together.cases[1].sentences == alone.cases[0].sentences

    def test_seeds_differ(self) -> None:
        batch = generate([5, 11], COARSE)
        assert (batch.labels[0] != batch.labels[1]).float().mean() > 0.05

    def test_global_random_state_is_neither_read_nor_changed(self) -> None:
        torch.manual_seed(1)
        first = generate([5], COARSE).hu
        state = torch.get_rng_state()
        torch.manual_seed(2)
        np.random.seed(2)
        assert torch.equal(generate([5], COARSE).hu, first)
        torch.manual_seed(1)
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize("seed", [4])
    def test_fine_and_coarse_grids_show_the_same_patient(self, seed: int) -> None:
        coarse = PhantomGrid(shape=(60, 52, 60), spacing=(6.0, 6.0, 6.0))
        fine = PhantomGrid(shape=(180, 156, 180), spacing=(2.0, 2.0, 2.0))
        few, many = generate([seed], coarse), generate([seed], fine)
        middles = many.labels[0, 1::3, 1::3, 1::3]
        assert (few.labels[0] == middles).float().mean() > 0.93
        assert few.cases[0].lesions == many.cases[0].lesions
        for lobe in structures.LUNG_LOBES:
            volumes = [float((b.labels == lobe).sum() * np.prod(g.spacing)) for b, g in ((few, coarse), (many, fine))]
            assert volumes[0] == pytest.approx(volumes[1], rel=0.15)
        present = set(few.cases[0].present)
        assert all(((many.lesions >> finding) & 1).any() for finding in present)


class TestInterface:
    def test_batch_holds_what_it_promises(self) -> None:
        grid = PhantomGrid(shape=(40, 44, 48), spacing=(8.0, 8.0, 8.0))
        batch = generate([1, 2], grid)
        assert batch.hu.shape == batch.labels.shape == batch.lesions.shape == (2, 40, 44, 48)
        assert (batch.hu.dtype, batch.labels.dtype, batch.lesions.dtype) == (torch.float32, torch.uint8, torch.int32)
        assert batch.hu.min() >= -1024
        assert batch.hu.max() <= 3071
        assert batch.labels.max() < len(structures.STRUCTURES)
        for row, case in enumerate(batch.cases):
            assert set(batch.findings[row].nonzero()[:, 0].tolist()) == case.present
            assert np.array_equal(case.affine, grid.affine)

    def test_affine_puts_the_middle_of_the_grid_at_its_centre(self) -> None:
        grid = PhantomGrid(shape=(5, 7, 9), spacing=(2.0, 3.0, 4.0), centre=(10.0, -5.0, 2.0))
        assert np.allclose(grid.affine @ [2, 3, 4, 1], [10, -5, 2, 1])
        assert np.allclose([axis[0] for axis in grid.axes], grid.affine[:3, 3])

    def test_findings_follow_the_vocabulary(self) -> None:
        assert len(CT_RATE_FINDINGS) == NUM_FINDINGS == len(PREVALENCE)

    def test_wishes_are_granted_and_leave_the_rest_alone(self) -> None:
        plain, ill = draw_phantom(7, present=frozenset()), draw_phantom(7, present=frozenset({9}))
        assert plain.models == []
        assert [model.finding for model in ill.models] == [9]
        assert plain.anatomy.patient.pose.scale == ill.anatomy.patient.pose.scale
        assert plain.anatomy.patient.heart_ratio == ill.anatomy.patient.heart_ratio

    def test_no_seed_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one seed"):
            generate([])

    def test_empty_grid_is_refused(self) -> None:
        with pytest.raises(ValueError, match="positive shape"):
            PhantomGrid(shape=(0, 4, 4))

    def test_generate_case_is_the_first_of_a_batch(self) -> None:
        hu, labels, lesions, case = generate_case(9, COARSE)
        batch = generate([9], COARSE)
        assert torch.equal(hu, batch.hu[0])
        assert torch.equal(labels, batch.labels[0])
        assert torch.equal(lesions, batch.lesions[0])
        assert case.report == batch.cases[0].report


class TestPrevalence:
    def test_every_finding_is_neither_rare_nor_common(self) -> None:
        drawn = [draw_presence(seed) for seed in range(1500)]
        shares = [sum(finding in present for present in drawn) / len(drawn) for finding in range(NUM_FINDINGS)]
        assert min(shares) > 0.12
        assert max(shares) < 0.40
        assert 0.09 < sum(not present for present in drawn) / len(drawn) < 0.20

    def test_cardiac_findings_come_together(self) -> None:
        drawn = [draw_presence(seed) for seed in range(1500)]
        both = sum({2, 12} <= present for present in drawn) / len(drawn)
        apart = np.prod([sum(f in present for present in drawn) / len(drawn) for f in (2, 12)])
        assert both > 1.1 * apart


@pytest.mark.parametrize(
    ("seed", "split"),
    [(0, "train"), (999_999, "train"), (1_000_000, "validation"), (1_999_999, "validation"), (2_000_000, "test")],
)
def test_split_follows_the_seed(seed: int, split: str) -> None:
    assert split_of(seed) == split
