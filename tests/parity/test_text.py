"""Our text encoder gives the official embeddings, with padding of 0.1.3 and of the versions before."""

from __future__ import annotations

import pytest
import torch
from official import Pair
from torch import Tensor

TOLERANCE = 1e-5


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Three texts of 3, 20 and 11 tokens, padded to 20."""
    ids = torch.randint(5, 97, (3, 20), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(20) < torch.tensor([[3], [20], [11]])).long()
    return ids * mask, mask


@pytest.mark.parametrize("normalize", [True, False])
@torch.no_grad()
def test_padded_texts_are_equal(pair: Pair, batch: tuple[Tensor, Tensor], normalize: bool) -> None:
    expected = pair.official.encode_text(*batch, normalize=normalize)
    ours = pair.ours.encode_text(*batch, normalize=normalize)
    assert ours.shape == (3, 24)
    assert expected.std() > 0.05
    assert (ours - expected).abs().max() <= TOLERANCE


@torch.no_grad()
def test_token_states_are_equal(pair: Pair, batch: tuple[Tensor, Tensor]) -> None:
    expected = pair.official.encode_text(*batch, pool=False, normalize=False)
    assert (pair.ours.text_encoder.states(*batch) - expected).abs().max() <= TOLERANCE


@torch.no_grad()
def test_legacy_padding_pools_over_padding(pair: Pair, batch: tuple[Tensor, Tensor]) -> None:
    """Before 0.1.3 the official pooler was called without a mask, BERT with it."""
    states = pair.official.encode_text(*batch, pool=False, normalize=False)
    expected = pair.official.text_encoder.pooler(states)
    ours = pair.ours.encode_text(*batch, normalize=False, legacy_padding=True)
    assert (ours - expected).abs().max() <= TOLERANCE
    masked = pair.ours.encode_text(*batch, normalize=False)
    assert (ours[0] - masked[0]).abs().max() > 1e-2, "padding must matter here, or the switch is untested"
    assert (ours[1] - masked[1]).abs().max() <= TOLERANCE, "a text without padding has one result"


@torch.no_grad()
def test_result_does_not_depend_on_padded_length(pair: Pair, batch: tuple[Tensor, Tensor]) -> None:
    ids, mask = batch
    padded = pair.ours.encode_text(ids, mask)
    for row, length in enumerate((3, 20, 11)):
        alone = pair.ours.encode_text(ids[row : row + 1, :length], mask[row : row + 1, :length])
        assert (padded[row] - alone[0]).abs().max() <= TOLERANCE


def test_a_text_without_tokens_is_refused(pair: Pair) -> None:
    ids = torch.ones(1, 4, dtype=torch.long)
    for model in (pair.ours, pair.official):
        with pytest.raises(ValueError, match=r"at least one"):
            model.encode_text(ids, torch.zeros(1, 4, dtype=torch.long))
