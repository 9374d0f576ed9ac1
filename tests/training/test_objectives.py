"""The objectives against their formulas, worked out another way."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss

from colipri_core.model.pooling import MeanQueryPool
from colipri_training.data.batches import Batch
from colipri_training.objectives.attention import RegionAttention
from colipri_training.objectives.contrastive import Contrastive
from colipri_training.objectives.distinct import DistinctFindings
from colipri_training.objectives.encoded import Encoded
from colipri_training.objectives.encoded import pooling_attention
from colipri_training.objectives.opposite import OppositeSentences
from colipri_training.objectives.outlines import outline_loss
from colipri_training.objectives.region import RegionSentences

VOLUMES, TOKENS, CHANNELS, FINDINGS, PAIRS = 3, 5, 8, 4, 2


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape), dim=-1)


@pytest.fixture
def encoded() -> Encoded:
    torch.manual_seed(0)
    return Encoded(
        image=unit(VOLUMES, CHANNELS),
        tokens=unit(VOLUMES, TOKENS, CHANNELS),
        report=unit(VOLUMES, CHANNELS),
        affirming=unit(PAIRS, FINDINGS, CHANNELS),
        denying=unit(PAIRS, FINDINGS, CHANNELS),
        attention=torch.rand(VOLUMES, TOKENS).softmax(dim=1),
        scale=torch.tensor(7.0),
    )


def batch(findings: torch.Tensor, regions: torch.Tensor) -> Batch:
    nothing = torch.zeros(0)
    return Batch(
        images=nothing,
        keep=nothing,
        findings=findings,
        regions=regions,
        reports=(nothing, nothing),
        affirming=(nothing, nothing),
        denying=(nothing, nothing),
    )


def any_batch() -> Batch:
    return batch(
        torch.tensor([[1, 0, 0, -1], [0, 0, 1, 0], [0, 1, 0, 0]], dtype=torch.int8),
        torch.randint(-1, 2, (VOLUMES, FINDINGS, TOKENS), dtype=torch.int8),
    )


class TestContrastive:
    def test_is_the_symmetric_cross_entropy(self, encoded: Encoded) -> None:
        similarity = 7.0 * encoded.image @ encoded.report.T
        rows = torch.stack([-similarity[i].log_softmax(0)[i] for i in range(VOLUMES)]).mean()
        columns = torch.stack([-similarity[:, i].log_softmax(0)[i] for i in range(VOLUMES)]).mean()
        torch.testing.assert_close(Contrastive()(any_batch(), encoded), (rows + columns) / 2)

    def test_is_small_when_each_volume_matches_its_own_report(self, encoded: Encoded) -> None:
        basis = torch.eye(VOLUMES, CHANNELS)
        matched = dataclasses.replace(encoded, image=basis, report=basis, scale=torch.tensor(50.0))
        assert Contrastive()(any_batch(), matched) < 1e-6


class TestOppositeSentences:
    def test_equals_two_prompt_cross_entropy(self, encoded: Encoded) -> None:
        given = any_batch()
        total, weights = 0.0, 0.0
        for volume in range(VOLUMES):
            for finding in range(FINDINGS):
                label = int(given.findings[volume, finding])
                if label < 0:
                    continue
                weight = 2.5 if label else 1.0
                for pair in range(PAIRS):
                    sides = torch.stack([encoded.denying[pair, finding], encoded.affirming[pair, finding]])
                    logits = 7.0 * sides @ encoded.image[volume]
                    total += weight * F.cross_entropy(logits[None], torch.tensor([label])).item() / PAIRS
                weights += weight
        assert OppositeSentences()(given, encoded).item() == pytest.approx(total / weights, abs=1e-6)

    def test_leaves_out_findings_the_encoder_could_not_see(self, encoded: Encoded) -> None:
        unseen = batch(-torch.ones(VOLUMES, FINDINGS, dtype=torch.int8), any_batch().regions)
        assert OppositeSentences()(unseen, encoded).item() == 0.0


class TestRegionSentences:
    def test_positive_and_negative_tokens_weigh_the_same(self, encoded: Encoded) -> None:
        regions = torch.zeros(VOLUMES, FINDINGS, TOKENS, dtype=torch.int8)
        regions[0, 0, 2] = 1
        loss = RegionSentences()(batch(any_batch().findings, regions), encoded)
        direction = (encoded.affirming - encoded.denying).mean(dim=0)
        logits = 7.0 * torch.einsum("bke,fe->bfk", encoded.tokens, direction)
        shown = F.softplus(-logits[0, 0, 2])
        rows = [F.softplus(logits[b, f][regions[b, f] == 0]) for b in range(VOLUMES) for f in range(FINDINGS)]
        hidden = torch.stack([(row.mean() + row.max()) / 2 for row in rows]).mean()
        torch.testing.assert_close(loss, (shown + hidden) / 2)

    def test_ignores_unclear_tokens(self, encoded: Encoded) -> None:
        regions = -torch.ones(VOLUMES, FINDINGS, TOKENS, dtype=torch.int8)
        assert RegionSentences()(batch(any_batch().findings, regions), encoded).item() == 0.0

    def test_without_knowledge_costs_log_two(self, encoded: Encoded) -> None:
        blind = dataclasses.replace(encoded, denying=encoded.affirming)
        regions = torch.zeros(VOLUMES, FINDINGS, TOKENS, dtype=torch.int8)
        regions[..., 0] = 1
        loss = RegionSentences()(batch(any_batch().findings, regions), blind)
        assert loss.item() == pytest.approx(math.log(2.0))


class TestRegionAttention:
    def test_is_the_mean_negative_log_share_of_each_finding(self, encoded: Encoded) -> None:
        regions = torch.zeros(VOLUMES, FINDINGS, TOKENS, dtype=torch.int8)
        regions[0, 1, [0, 3]] = 1
        regions[2, 3, 4] = 1
        shares = [encoded.attention[0, [0, 3]].sum(), encoded.attention[2, 4]]
        expected = -(shares[0].log() + shares[1].log()) / 2
        torch.testing.assert_close(RegionAttention()(batch(any_batch().findings, regions), encoded), expected)

    def test_attention_is_the_poolers_own(self) -> None:
        torch.manual_seed(1)
        pooler, tokens = MeanQueryPool(12, 3), torch.randn(2, 7, 12)
        _, expected = pooler.attn(tokens.mean(dim=1, keepdim=True), tokens, tokens, need_weights=True)
        torch.testing.assert_close(pooling_attention(pooler, tokens), expected[:, 0])


class TestDistinctFindings:
    def test_is_the_mean_squared_cosine_between_two_findings(self, encoded: Encoded) -> None:
        directions = (encoded.affirming - encoded.denying).mean(dim=0)
        pairs = [(f, g) for f in range(FINDINGS) for g in range(FINDINGS) if f != g]
        cosines = [F.cosine_similarity(directions[f], directions[g], dim=0) for f, g in pairs]
        expected = torch.stack(cosines).square().mean()
        torch.testing.assert_close(DistinctFindings()(any_batch(), encoded), expected)

    def test_is_least_where_every_finding_has_an_axis_of_its_own(self, encoded: Encoded) -> None:
        axes = torch.eye(CHANNELS)[:FINDINGS].expand(PAIRS, -1, -1)
        apart = dataclasses.replace(encoded, affirming=axes, denying=-axes)
        assert DistinctFindings()(any_batch(), apart) == 0
        alike = dataclasses.replace(
            encoded, affirming=axes[:, :1].expand_as(axes), denying=-axes[:, :1].expand_as(axes)
        )
        assert DistinctFindings()(any_batch(), alike) == 1


class TestOutlines:
    def test_of_classes_of_one_size_is_dice_and_cross_entropy(self) -> None:
        torch.manual_seed(0)
        logits, labels = torch.randn(2, 4, 4, 4, 4), torch.arange(128).reshape(2, 4, 4, 4) % 4
        plain = DiceCELoss(to_onehot_y=True, softmax=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)
        torch.testing.assert_close(outline_loss(logits, labels), plain(logits, labels[:, None]))

    def test_a_voxel_of_a_class_of_a_ninth_of_the_size_weighs_three_times(self) -> None:
        labels = torch.zeros(1, 10, 1, 1, dtype=torch.long)
        labels[0, 9] = 1
        logits = torch.zeros(1, 2, 10, 1, 1)
        nearly = F.one_hot(labels, 2).movedim(-1, 1).float()
        wrong = {}
        for voxel in (0, 9):
            logits = 40 * nearly
            logits[0, :, voxel] = 0
            dice = 1 - _dice(logits.softmax(dim=1), nearly)
            wrong[voxel] = float(outline_loss(logits, labels)) - dice
        assert wrong[9] == pytest.approx(3 * wrong[0], rel=1e-4)

    def test_a_class_that_is_nowhere_does_not_count_as_found(self) -> None:
        labels = torch.zeros(1, 4, 4, 4, dtype=torch.long)
        labels[0, :2] = 1
        two = torch.randn(1, 2, 4, 4, 4)
        three = torch.cat([two, torch.full((1, 1, 4, 4, 4), -60.0)], dim=1)
        torch.testing.assert_close(outline_loss(three, labels), outline_loss(two, labels))

    def test_a_small_class_that_is_given_nothing_is_called_for(self) -> None:
        labels = torch.zeros(1, 16, 16, 16, dtype=torch.long)
        labels[0, 0, 0, :8] = 1
        pull = []
        for loss in (
            outline_loss,
            lambda logits, right: DiceCELoss(to_onehot_y=True, softmax=True)(logits, right[:, None]),
        ):
            logits = torch.tensor([0.0, -7.0]).reshape(1, 2, 1, 1, 1).repeat(1, 1, 16, 16, 16).requires_grad_()
            loss(logits, labels).backward()
            pull.append(-float(logits.grad[0, 1, 0, 0, :8].sum()))
        assert pull[0] > 5 * pull[1] > 0


def _dice(share: torch.Tensor, right: torch.Tensor) -> float:
    overlap, sizes = (share * right).sum(dim=(0, 2, 3, 4)), (share + right).sum(dim=(0, 2, 3, 4))
    return float(((2 * overlap + 1) / (sizes + 1)).mean())
