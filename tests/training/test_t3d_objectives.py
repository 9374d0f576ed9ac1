"""The objectives of T3D: their formulas, what the text can and cannot tell, and who gets a gradient."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from colipri_training.objectives.cached import backward
from colipri_training.recipes.t3d import recipes
from colipri_training.t3d.batch import T3DBatch
from colipri_training.t3d.config import T3DConfig
from colipri_training.t3d.network import T3DNetwork
from colipri_training.t3d.network import matches
from colipri_training.t3d.validation import other_reports

SCANS, EDGE, WORDS = 4, 32, 50


def config_of(name: str = "t3d_smoke_views", **changes: Any) -> T3DConfig:
    return dataclasses.replace(recipes()[name](vocab_size=WORDS), **changes)


def batch_of(config: T3DConfig, *, seed: int = 0, same_image: bool = False) -> T3DBatch:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1 if same_image else SCANS, 2, 4, 4, 4, generator=generator) * 2 - 1
    images = F.interpolate(coarse, (EDGE, EDGE, EDGE), mode="trilinear")
    images = images.expand(SCANS, -1, -1, -1, -1)
    ids = torch.randint(5, WORDS, (SCANS, 12), generator=generator)
    sentences = torch.randint(5, WORDS, (SCANS, 2, 6), generator=generator)
    return T3DBatch(
        images=images if config.contrasts else images[:, :1],
        centres=torch.rand(SCANS, 2, 3, generator=generator) * 2 - 1,
        corrupted=images[:, 0] * 0.5 if config.loss.restoration else None,
        reports=(ids, torch.ones_like(ids)),
        sentences=(sentences, torch.ones_like(sentences)),
        groups=torch.arange(SCANS),
        ids=tuple(map(str, range(SCANS))),
    )


def network_of(config: T3DConfig) -> T3DNetwork:
    torch.manual_seed(0)
    return T3DNetwork(config).train()


def losses(network: T3DNetwork, batch: T3DBatch) -> dict[str, torch.Tensor]:
    outputs = network(batch)
    return {objective.name: objective(batch, outputs) for _, objective in network.objectives}


class TestContrast:
    def test_is_the_symmetric_infonce_of_its_docstring(self) -> None:
        config = config_of("t3d_smoke_contrast")
        network, batch = network_of(config), batch_of(config)
        outputs = network(batch)
        assert outputs.match is not None
        text = network.states(batch.reports, SCANS)
        features = network._pooled_features(batch.images)
        expected = []
        for scan in range(SCANS):
            report = tuple(part[scan : scan + 1].expand(SCANS * 2, *part.shape[1:]) for part in text)
            told = network.fusion(features.flatten(0, 1), *report)  # type: ignore[misc]
            vectors = network.project(told.mean(dim=1)).unflatten(0, (SCANS, 2))  # type: ignore[misc]
            for a, b in ((0, 1), (1, 0)):
                logits = 10 * vectors[scan, a] @ vectors[:, b].T
                expected.append(-logits.log_softmax(dim=0)[scan])
        found = losses(network, batch)["contrast"]
        assert found.item() == pytest.approx(torch.stack(expected).mean().item(), abs=1e-4)

    @pytest.mark.parametrize("conditioning", ["report", "null"])
    def test_the_text_alone_tells_nothing_where_all_are_told_the_same_report(self, conditioning: str) -> None:
        config = config_of("t3d_smoke_contrast", conditioning=conditioning)
        network, batch = network_of(config), batch_of(config, same_image=True)
        assert losses(network, batch)["contrast"].item() == pytest.approx(math.log(SCANS), abs=1e-4)

    def test_the_text_alone_tells_scans_apart_where_each_is_told_its_own(self) -> None:
        """The shortcut that `same_report` closes: blind to the images, the match is still found."""
        config = config_of("t3d_smoke_contrast", negatives="own_report")
        network, batch = network_of(config), batch_of(config, same_image=True)
        views = batch.images[:, :1].expand(-1, 2, -1, -1, -1)
        outputs = network(dataclasses.replace(batch, images=views))
        assert outputs.match is not None
        assert outputs.match.argmax(dim=2).tolist() == [[scan, scan] for scan in range(SCANS)]

    def test_scans_of_one_group_are_no_negatives(self) -> None:
        config = config_of("t3d_smoke_contrast")
        network, batch = network_of(config), batch_of(config)
        alone = dataclasses.replace(batch, groups=torch.zeros(SCANS, dtype=torch.int64))
        assert losses(network, alone)["contrast"].item() == pytest.approx(0.0, abs=1e-6)
        assert losses(network, batch)["contrast"].item() > 0.1

    def test_more_views_make_more_pairs(self) -> None:
        vectors = F.normalize(torch.randn(2, 2, 3, 8), dim=-1)
        found = matches(vectors)
        assert found.shape == (2, 6, 2)
        assert found[1, 0, 0] == pytest.approx((vectors[1, 1, 0] @ vectors[1, 0, 1]).item(), abs=1e-6)


class TestRestoration:
    def test_starts_as_the_error_of_the_corruption_with_changed_voxels_first(self) -> None:
        config = config_of("t3d_smoke_restoration")
        network, batch = network_of(config), batch_of(config)
        corrupted = batch.images[:, 0].clone()
        corrupted[:, :16] += 0.5
        batch = dataclasses.replace(batch, corrupted=corrupted)
        assert losses(network, batch)["restoration"].item() == pytest.approx(0.5 / 1.1, abs=1e-5)

    def test_depends_on_the_report_and_that_of_the_twin_does_not(self) -> None:
        for name, is_told in (("t3d_smoke_restoration", True), ("t3d_smoke_restoration_textfree", False)):
            config = config_of(name)
            network, batch = network_of(config).eval(), batch_of(config)
            torch.nn.init.normal_(network.decoder.leave.weight, std=0.1)  # type: ignore[union-attr]
            ids, mask = batch.reports
            other = dataclasses.replace(batch, reports=(ids.roll(1, 0), mask))
            same = losses(network, batch)["restoration"] == losses(network, other)["restoration"]
            assert bool(same) is not is_told

    def test_knows_where_it_looks_and_a_contrast_does_not(self) -> None:
        network, batch = network_of(config_of("t3d_smoke")).eval(), batch_of(config_of("t3d_smoke"))
        torch.nn.init.normal_(network.decoder.leave.weight, std=0.1)  # type: ignore[union-attr]
        here, there = (
            losses(network, dataclasses.replace(batch, centres=batch.centres + shift)) for shift in (0.0, 0.5)
        )
        assert here["restoration"] != there["restoration"]
        assert here["contrast"] == there["contrast"]
        blind = dataclasses.replace(config_of("t3d_smoke_restoration").fusion, places=False)
        assert network_of(config_of("t3d_smoke_restoration", fusion=blind)).places is None

    def test_parts_give_the_gradient_of_the_whole(self) -> None:
        config = config_of("t3d_smoke_restoration")
        gradients = []
        for parts in (1, 2):
            network, batch = network_of(config), batch_of(config)
            torch.nn.init.normal_(network.decoder.leave.weight, std=0.1)  # type: ignore[union-attr]
            backward(network, network.objectives, batch, parts=parts)
            gradients.append([v.grad for v in network.parameters() if v.grad is not None])
        assert len(gradients[0]) == len(gradients[1]) > 10
        for one, two in zip(*gradients, strict=True):
            assert torch.allclose(one, two, atol=1e-6, rtol=1e-4)


class TestConsistency:
    def test_asks_all_scans_the_same_sentence_so_words_tell_nothing(self) -> None:
        config = config_of()
        network, batch = network_of(config), batch_of(config, same_image=True)
        assert losses(network, batch)["consistency"].item() == pytest.approx(math.log(SCANS), abs=1e-4)

    def test_padding_counts_for_nothing(self) -> None:
        config = config_of()
        network, batch = network_of(config).eval(), batch_of(config)
        assert batch.sentences is not None
        ids, mask = (part.clone() for part in batch.sentences)
        mask[:, 1] = 0
        kept = losses(network, dataclasses.replace(batch, sentences=(ids, mask)))["consistency"]
        ids[:, 1] = 7
        changed = losses(network, dataclasses.replace(batch, sentences=(ids, mask)))["consistency"]
        assert kept.item() == pytest.approx(changed.item(), abs=1e-6)
        assert kept.item() != pytest.approx(losses(network, batch)["consistency"].item(), abs=1e-4)


class TestGradients:
    @pytest.mark.parametrize("name", [name for name in recipes() if name.startswith("t3d_smoke")])
    def test_everything_that_is_trained_gets_one(self, name: str) -> None:
        """What got none would stop DistributedDataParallel."""
        network = network_of(config_of(name))
        sum(losses(network, batch_of(network.config)).values()).backward()  # type: ignore[union-attr]
        missing = [name for name, value in network.named_parameters() if value.requires_grad and value.grad is None]
        assert missing == []

    def test_a_frozen_text_encoder_gets_none_and_has_no_dropout(self) -> None:
        base = config_of("t3d_smoke")
        config = dataclasses.replace(base, optimizer=dataclasses.replace(base.optimizer, text_share=0.0))
        network = network_of(config)
        sum(losses(network, batch_of(config)).values()).backward()  # type: ignore[union-attr]
        assert network.text_encoder is not None
        assert all(value.grad is None for value in network.text_encoder.parameters())
        assert not network.text_encoder.training
        assert network.encoder.training


class TestConfigs:
    @pytest.mark.parametrize("name", sorted(recipes()))
    def test_survive_json(self, name: str) -> None:
        config = config_of(name)
        assert T3DConfig.from_json(config.to_json()) == config
        assert config.name == name

    @pytest.mark.parametrize(
        ("base", "twin"), [(n, f"{n}_textfree") for n in recipes() if f"{n}_textfree" in recipes()]
    )
    def test_a_twin_differs_in_the_report_alone(self, base: str, twin: str) -> None:
        assert dataclasses.replace(config_of(twin), name=base, conditioning="report") == config_of(base)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (("loss.contrast=0", "loss.restoration=0", "loss.consistency=0"), "must have a weight"),
            (("data.views.count=1",), "at least 2"),
            (('conditioning="null"',), "sentences of the report"),
            (("compute.micro_batch=2",), "activation_checkpointing"),
            (('negatives="other"',), "negatives must be"),
            (('encoder.kind="unet"',), "kind"),
        ],
    )
    def test_what_excludes_itself_is_refused(self, settings: tuple[str, ...], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            config_of().changed(settings)


def test_a_wrong_report_is_another_text() -> None:
    found = other_reports({"a": "x", "b": "x", "c": "y"})
    assert found == {"a": "y", "b": "y", "c": "x"}
    assert other_reports({"a": "x"}) == {"a": "x"}
