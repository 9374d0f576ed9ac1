"""Report generation and masked autoencoding against their formulas, and what their encoder gets to see."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch.utils.flop_counter import FlopCounterMode

from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.encoder import ImageBackbone
from colipri_core.model.report_decoder import ReportDecoder
from colipri_core.model.report_decoder import ReportDecoderConfig
from colipri_training.data.batch import Batch
from colipri_training.data.batch import Masked
from colipri_training.distributed import World
from colipri_training.objectives.config import ReconstructionConfig
from colipri_training.objectives.encoded import Encoded
from colipri_training.objectives.reconstruction import Reconstruction
from colipri_training.objectives.reconstruction import Reconstructor
from colipri_training.objectives.reconstruction import blank
from colipri_training.objectives.reconstruction import hidden_tokens
from colipri_training.objectives.reconstruction import hide
from colipri_training.objectives.report import ReportGeneration
from colipri_training.objectives.report import writing_losses

ENCODER = ImageEncoderConfig(patch_size=4, width=24, depth=1, heads=2, embed_dim=24, drop_path=0.0)
SIZES = ReconstructionConfig(width=12, depth=1, heads=2)
HERE = World(device=torch.device("cpu"))


def batch(**parts: Any) -> Batch:
    nothing = torch.zeros(0)
    text = (nothing, nothing)
    values = {"images": nothing, "keep": nothing, "findings": nothing, "regions": nothing, "reports": text}
    return Batch(**{**values, "affirming": None, "denying": None, **parts})


class TestReportGeneration:
    targets = (torch.tensor([[2, 4, 5, 3, 0], [2, 6, 7, 8, 3]]), torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]))

    def decoder(self) -> ReportDecoder:
        torch.manual_seed(0)
        config = ReportDecoderConfig(
            vocab_size=9, memory_width=12, width=12, layers=1, heads=2, hidden=16, max_length=8, dropout=0.0
        )
        return ReportDecoder(config)

    def test_is_the_mean_over_all_word_pieces_without_padding(self) -> None:
        decoder, memory = self.decoder(), torch.randn(2, 3, 12)
        ids, _ = self.targets
        logs = decoder(ids[:, :-1], memory).log_softmax(dim=-1)
        terms = [logs[0, t, ids[0, t + 1]] for t in range(3)] + [logs[1, t, ids[1, t + 1]] for t in range(4)]
        writing = writing_losses(decoder, memory, self.targets)
        nothing = torch.zeros(2, 1)
        encoded = Encoded(image=nothing, report=nothing, scale=nothing, writing=writing)
        loss = ReportGeneration()(batch(targets=self.targets), encoded)
        torch.testing.assert_close(loss, -torch.stack(terms).mean())

    def test_more_padding_changes_nothing(self) -> None:
        decoder, memory = self.decoder(), torch.randn(2, 3, 12)
        longer = tuple(F.pad(part, (0, 2)) for part in self.targets)
        torch.testing.assert_close(
            writing_losses(decoder, memory, (longer[0], longer[1])), writing_losses(decoder, memory, self.targets)
        )


class TestHide:
    images = torch.randn(4, 1, 8, 8, 16)

    def test_hides_three_quarters_of_every_volume(self) -> None:
        masked = hide(batch(images=self.images, unpaired=self.images[:2]), SIZES, 4, seed=1, world=HERE).masked
        assert masked is not None
        assert masked.images.shape[0] == 6
        assert masked.visible.shape == (6, 4)
        for row, hidden in zip(masked.visible, hidden_tokens(masked.visible, 16), strict=True):
            assert sorted([*row.tolist(), *hidden.tolist()]) == list(range(16))
        assert len({tuple(row.tolist()) for row in masked.visible}) > 1

    def test_is_the_same_for_any_number_of_processes(self) -> None:
        whole = hide(batch(images=self.images), SIZES, 4, seed=1, world=HERE).masked
        assert whole is not None
        parts = []
        for rank in range(2):
            world = dataclasses.replace(HERE, rank=rank, size=2)
            part = hide(batch(images=self.images[2 * rank :][:2]), SIZES, 4, seed=1, world=world).masked
            assert part is not None
            parts.append(part.visible)
        assert torch.equal(torch.cat(parts), whole.visible)

    def test_volumes_without_report_alone_if_wanted(self) -> None:
        sizes = dataclasses.replace(SIZES, paired=False)
        masked = hide(batch(images=self.images, unpaired=self.images[:2]), sizes, 4, seed=1, world=HERE).masked
        assert masked is not None
        assert masked.images.shape[0] == 2
        with pytest.raises(ValueError, match="got neither"):
            hide(batch(images=self.images), sizes, 4, seed=1, world=HERE)


class TestReconstruction:
    def parts(self, **sizes: Any) -> tuple[ImageBackbone, Reconstructor]:
        torch.manual_seed(0)
        return ImageBackbone(ENCODER), Reconstructor(dataclasses.replace(SIZES, **sizes), ENCODER)

    def masked(self, volumes: int = 2) -> Masked:
        """Smooth volumes, so that there is something to foretell."""
        torch.manual_seed(1)
        images = F.interpolate(torch.randn(volumes, 1, 3, 3, 3), size=(16, 16, 16), mode="trilinear").clamp(-1, 1)
        masked = hide(batch(images=images), SIZES, 4, seed=2, world=HERE).masked
        assert masked is not None
        return masked

    def test_is_the_mean_squared_error_over_hidden_voxels(self) -> None:
        backbone, decoder = self.parts()
        masked = self.masked()
        tokens, hidden = backbone(masked.images, masked.visible), hidden_tokens(masked.visible, 64)
        predicted = decoder.predict(tokens, masked, hidden)
        cubes = rearrange(torch.zeros(2, 1, 16, 16, 16), "r 1 (x p) (y q) (z s) -> r (x y z) p q s", p=4, q=4, s=4)
        seen = cubes.clone()
        for row in range(2):
            cubes[row, hidden[row]] = rearrange(predicted[row].detach(), "h (p q s) -> h p q s", p=4, q=4)
            seen[row, masked.visible[row]] = 1.0
        grid = {"x": 4, "y": 4, "z": 4}
        made, m = (rearrange(c, "r (x y z) p q s -> r 1 (x p) (y q) (z s)", **grid) for c in (cubes, seen))
        expected = ((made - masked.images) ** 2 * (1 - m)).sum() / (1 - m).sum()
        nothing = torch.zeros(2, 1)
        encoded = Encoded(image=nothing, report=nothing, scale=nothing, reconstruction=decoder(tokens, masked))
        torch.testing.assert_close(Reconstruction()(batch(), encoded), expected)

    @pytest.mark.parametrize("stem", [(), ((4, 0), (6, 1))])
    def test_hidden_voxels_never_reach_the_network(self, stem: tuple[tuple[int, int], ...]) -> None:
        _, decoder = self.parts()
        backbone = ImageBackbone(dataclasses.replace(ENCODER, stem=stem))
        if backbone.down_projection.stem is not None:
            torch.nn.init.normal_(backbone.down_projection.stem.leave.weight)
        masked = self.masked()
        hidden = hidden_tokens(masked.visible, 64)
        other = rearrange(masked.images.clone(), "r 1 (x p) (y q) (z s) -> r (x y z) (p q s)", p=4, q=4, s=4)
        other[torch.arange(2)[:, None], hidden] = 9.0
        grid = {"x": 4, "y": 4, "z": 4, "p": 4, "q": 4}
        changed = Masked(
            images=rearrange(other, "r (x y z) (p q s) -> r 1 (x p) (y q) (z s)", **grid), visible=masked.visible
        )
        before, after = (
            decoder.predict(backbone(blank(case, 4), case.visible), case, hidden) for case in (masked, changed)
        )
        assert torch.equal(before, after)

    def test_normalised_target_has_no_mean_and_unit_variance(self) -> None:
        _, decoder = self.parts(normalise=True)
        target = decoder._target(Masked(images=torch.randn(1, 1, 8, 8, 8) * 3 + 5, visible=torch.tensor([[0, 1]])))
        torch.testing.assert_close(target.mean(dim=2), torch.zeros(1, 6), atol=1e-5, rtol=0)
        torch.testing.assert_close(target.var(dim=2), torch.ones(1, 6), atol=1e-4, rtol=0)

    def test_learns_to_beat_the_mean_of_what_is_hidden(self) -> None:
        backbone, decoder = self.parts()
        masked = self.masked(volumes=4)
        adam = torch.optim.Adam([*backbone.parameters(), *decoder.parameters()], lr=1e-2)
        for _ in range(100):
            loss = decoder(backbone(masked.images, masked.visible), masked).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        assert loss.item() < 0.5 * decoder._target(masked).var(dim=(1, 2)).mean().item()

    def test_the_encoders_work_falls_with_the_ratio(self) -> None:
        """Counted operations at the published size, on tensors without storage."""
        config = dataclasses.replace(ImageEncoderConfig(), depth=1)
        with torch.device("meta"):
            backbone, images = ImageBackbone(config), torch.empty(1, 1, 192, 192, 192)
        counts = []
        for ratio in (0.0, 0.5, 0.75):
            keep = torch.empty(1, round(24**3 * (1 - ratio)), dtype=torch.long, device="meta")
            with FlopCounterMode(display=False) as counter:
                backbone(images, keep)
            counts.append(counter.get_total_flops())
        assert counts[1] < 0.4 * counts[0]
        assert counts[2] < 0.15 * counts[0]
