"""Probes: attention pooling equals torch's, every pooling learns what it can see, unknown labels take no part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_sets import make_features
from sklearn.metrics import roc_auc_score
from torch import Tensor

from colipri_training.evaluation.pooling import POOLINGS
from colipri_training.evaluation.pooling import AttentionPool
from colipri_training.evaluation.probes import Labelled
from colipri_training.evaluation.probes import ProbeOptions
from colipri_training.evaluation.probes import train_probe

FAST = ProbeOptions(epochs=25, seeds=1, learning_rate=1e-2, batch_size=16)


def separable(count: int, *, seed: int) -> tuple[Tensor, np.ndarray]:
    """Tokens (N, 8, 12) in which channel 0 of all tokens tells finding 0, and channel 1 of one token finding 1."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(count, 8, 12, generator=generator)
    labels = torch.rand(count, 2, generator=generator) < 0.5
    tokens[:, :, 0] += 3.0 * labels[:, :1]
    tokens[:, 3, 1] += 9.0 * labels[:, 1]
    return tokens, labels.double().numpy()


@pytest.mark.parametrize("queries", [0, 1, 4])
def test_pooling_is_torchs_attention_in_another_order(queries: int) -> None:
    torch.manual_seed(0)
    pool, tokens = AttentionPool(12, 3, queries), torch.randn(5, 7, 12)
    torch.nn.init.normal_(pool.attention.in_proj_bias)
    torch.nn.init.normal_(pool.attention.out_proj.bias)

    query = tokens.mean(dim=1, keepdim=True) if pool.queries is None else pool.queries.expand(5, -1, -1)
    expected = pool.attention(query, tokens, tokens, need_weights=False)[0].mean(dim=1)
    assert torch.allclose(pool(tokens), expected, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_probe_learns_a_separable_task(pooling: str, tmp_path: Path) -> None:
    sets = {}
    for seed, (split, count) in enumerate({"train": 128, "validation": 48, "test": 64}.items()):
        tokens, labels = separable(count, seed=seed)
        sets[split] = Labelled(features=make_features(tmp_path / split, tokens, labels), labels=labels)
    found = train_probe(pooling, sets["train"], sets["validation"], FAST, heads=3)(sets["test"].features)

    assert found.shape == (64, 2)
    assert ((found > 0) & (found < 1)).all()
    assert roc_auc_score(sets["test"].labels[:, 0], found[:, 0]) > 0.95
    if pooling == "max":  # a single token is drowned in the mean of eight
        assert roc_auc_score(sets["test"].labels[:, 1], found[:, 1]) > 0.95


def test_it_is_the_same_probe_every_time(tmp_path: Path) -> None:
    tokens, labels = separable(32, seed=0)
    given = Labelled(features=make_features(tmp_path, tokens, labels), labels=labels)
    options = ProbeOptions(epochs=2, seeds=2)

    first, second = (train_probe("mean-query", given, None, options, heads=2)(given.features) for _ in range(2))
    assert (first == second).all()


def test_unknown_labels_do_not_change_what_is_learned(tmp_path: Path) -> None:
    tokens, labels = separable(40, seed=0)
    holes = labels.copy()
    holes[::2, 1] = np.nan
    features = make_features(tmp_path, tokens, labels)
    found = train_probe("mean", Labelled(features=features, labels=holes), None, FAST, heads=3)(features)

    assert np.isfinite(found).all()
    assert roc_auc_score(labels[:, 0], found[:, 0]) > 0.95


@pytest.mark.parametrize("wrong", [{"poolings": ("median",)}, {"poolings": ()}, {"epochs": 0}, {"batch_size": 1}])
def test_options_without_meaning_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"Expected|need"):
        ProbeOptions(**wrong)
