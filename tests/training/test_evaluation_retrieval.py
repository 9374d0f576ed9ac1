"""Retrieval on constructed embeddings: ranks by hand, chance, and a model that embeds everything alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from colipri_training.evaluation.bootstrap import resample_patients
from colipri_training.evaluation.retrieval import describe
from colipri_training.evaluation.retrieval import ranks

COUNTS = resample_patients([str(index) for index in range(20)], resamples=50)


def test_ranks_count_what_is_at_least_as_near() -> None:
    similarity = np.array([[0.9, 0.1, 0.2], [0.8, 0.5, 0.6], [0.3, 0.3, 0.3]])
    assert ranks(similarity).tolist() == [1, 3, 3]


def test_right_pairs_are_found_in_both_directions() -> None:
    found = describe(torch.eye(20), torch.eye(20), COUNTS)
    for direction in ("volume_to_report", "report_to_volume"):
        assert found[direction]["recall_at_1"]["value"] == 1.0
        assert found[direction]["median_rank"] == 1.0
    assert found["pool"] == 20


def test_directions_are_told_apart() -> None:
    volumes = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    reports = torch.tensor([[1.0, 0.0], [0.96, 0.28]])
    found = describe(volumes, reports, resample_patients(["a", "b"], resamples=5))

    similarity = (volumes @ reports.T).double().numpy()
    assert found["volume_to_report"]["recall_at_1"]["value"] == (ranks(similarity) == 1).mean()
    assert found["report_to_volume"]["recall_at_1"]["value"] == (ranks(similarity.T) == 1).mean()


def test_a_model_that_embeds_all_alike_finds_nothing() -> None:
    same = torch.nn.functional.normalize(torch.ones(20, 4), dim=1)
    found = describe(same, same, COUNTS)["volume_to_report"]

    assert found["recall_at_1"]["value"] == found["recall_at_10"]["value"] == 0.0
    assert found["mean_reciprocal_rank"]["value"] == pytest.approx(1 / 20)


def test_chance_and_depths_follow_the_pool() -> None:
    found = describe(torch.eye(20), torch.eye(20), COUNTS)["volume_to_report"]

    assert found["recall_at_5"]["chance"] == 0.25
    assert "recall_at_50" not in found
