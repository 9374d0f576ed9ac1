"""The encoder's own promises: sizes, rotary table, kept tokens, gradients, stochastic depth, windows, cancelling."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from bundles import small_config
from bundles import small_model
from torch import Tensor

from colipri_core.errors import Cancelled
from colipri_core.model.colipri import ColipriModel
from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.config import ModelConfig
from colipri_core.model.encoder import ImageBackbone
from colipri_core.model.encoder import PatchEmbedding
from colipri_core.model.rope import rope_table
from colipri_core.model.rope import rotate
from colipri_core.progress import CancelToken

CPU = torch.device("cpu")
RAMPS = ((-1.0, 0.0), (0.0, 0.5))
STEMMED = ImageEncoderConfig(patch_size=4, width=12, heads=2, intensity_ramps=RAMPS, stem=((3, 1), (5, 0)))


def images(*shape: int, batch: int = 1) -> Tensor:
    return torch.rand(batch, 1, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_published_size() -> None:
    with torch.device("meta"):
        model = ColipriModel(ModelConfig.published())
    assert len(model.state_dict()) == 581
    assert sum(p.numel() for p in model.parameters()) == 258_366_240
    assert sum(p.numel() for p in model.image_encoder.backbone.parameters()) == 144_085_536
    assert model.state_dict()["image_encoder.backbone.mask_token"].shape == (1, 1, 864)


class TestRope:
    def test_table_follows_the_formula(self) -> None:
        grid = (3, 4, 5)
        table = rope_table(grid, 72, CPU)
        assert table.sin.shape == (60, 36)
        for a, b, c in ((0, 0, 0), (2, 0, 0), (1, 3, 2), (2, 3, 4)):
            row = (a * 4 + b) * 5 + c
            angles = [position * 10000 ** (-k / 12) for position in (a, b, c) for k in range(12)]
            assert table.sin[row].tolist() == pytest.approx([math.sin(x) for x in angles], abs=1e-6)
            assert table.cos[row].tolist() == pytest.approx([math.cos(x) for x in angles], abs=1e-6)

    def test_rotation_turns_interleaved_pairs(self) -> None:
        table = rope_table((2, 2, 2), 6, CPU)
        x = torch.arange(6, dtype=torch.float32).expand(1, 1, 8, 6)
        turned = rotate(x, table)[0, 0, 4]  # token (1, 0, 0): the first pair turns by 1 rad, the others stay
        expected = [0 * math.cos(1) - 1 * math.sin(1), 1 * math.cos(1) + 0 * math.sin(1), 2, 3, 4, 5]
        assert turned.tolist() == pytest.approx(expected, abs=1e-6)

    def test_scores_depend_on_offsets_only(self) -> None:
        table = rope_table((4, 4, 4), 12, CPU)
        q, k = torch.randn(2, 1, 1, 1, 12).expand(2, 1, 1, 64, 12)
        scores = rotate(q, table)[0, 0] @ rotate(k, table)[0, 0].T
        assert scores[0, 21].item() == pytest.approx(scores[42, 63].item(), abs=1e-4)


class TestTokens:
    @torch.no_grad()
    def test_keeping_all_in_another_order_permutes_the_result(self) -> None:
        model, volume = small_model(), images(16, 12, 8)
        order = torch.randperm(24, generator=torch.Generator().manual_seed(0))[None]
        everything = model.encode_tokens(volume)
        assert torch.allclose(model.encode_tokens(volume, order), everything[:, order[0]], atol=1e-5)

    @torch.no_grad()
    def test_dropped_voxels_do_not_matter(self) -> None:
        model, volume = small_model(), images(16, 16, 16, batch=2)
        keep = torch.tensor([[0, 5, 63], [7, 8, 9]])
        other = volume.clone()
        other[0, 0, 4:8, 4:8, 4:8] += 1  # token 21, kept by neither
        assert torch.equal(model.encode_tokens(volume, keep), model.encode_tokens(other, keep))
        assert not torch.equal(model.encode_tokens(volume), model.encode_tokens(other))

    @torch.no_grad()
    def test_kept_patches_are_embedded_as_the_convolution_would(self) -> None:
        embedding = PatchEmbedding(ImageEncoderConfig(patch_size=4, width=12, heads=2, intensity_ramps=RAMPS))
        volume, keep = images(16, 12, 8, batch=2), torch.tensor([[0, 5, 23], [7, 8, 9]])
        whole, some = embedding(volume)[0], embedding(volume, keep)[0]
        torch.testing.assert_close(some, whole.take_along_dim(keep[..., None], dim=1))

    @torch.no_grad()
    def test_a_ramp_rises_from_its_low_end_to_its_high_end(self) -> None:
        embedding = PatchEmbedding(ImageEncoderConfig(patch_size=4, width=12, heads=2, intensity_ramps=RAMPS))
        values = torch.tensor([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0]).reshape(6, 1, 1, 1, 1).expand(-1, 1, 4, 4, 4)
        rows = embedding.rows(values, torch.zeros(6, 1, dtype=torch.int64)).reshape(6, 2, 64)
        assert rows[:, 0].mean(dim=1).tolist() == [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]
        assert rows[:, 1].mean(dim=1).tolist() == [0.0, 0.0, 0.0, 0.5, 1.0, 1.0]

    @pytest.mark.parametrize("shape", [(1, 1, 16, 16, 15), (1, 2, 16, 16, 16), (1, 16, 16, 16)])
    def test_unfit_volumes_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"multiple of 4 voxels, got"):
            small_model().encode_image(torch.zeros(shape))

    def test_unfit_keep_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"keep must have shape \(1, K\)"):
            small_model().encode_tokens(images(16, 16, 16), torch.tensor([1, 2]))

    def test_pool_without_project_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"project=True"):
            small_model().encode_image(images(16, 16, 16), project=False)


@pytest.fixture(params=[0, 3], ids=["without maps", "with maps"])
def stemmed(request: pytest.FixtureRequest) -> ImageEncoderConfig:
    return dataclasses.replace(STEMMED, stem_maps=request.param)


class TestStem:
    @torch.no_grad()
    def test_it_adds_nothing_until_it_is_trained(self, stemmed: ImageEncoderConfig) -> None:
        embedding, volume = PatchEmbedding(stemmed), images(16, 12, 8)
        with_stem, recalled = embedding(volume)
        assert (recalled is None) == (not stemmed.stem_maps)
        assert recalled is None or not recalled.any()
        embedding.stem = None
        assert torch.equal(with_stem, embedding(volume)[0])

    @torch.no_grad()
    def test_kept_patches_are_embedded_as_in_the_whole_volume(self, stemmed: ImageEncoderConfig) -> None:
        embedding = trained(PatchEmbedding(stemmed))
        volume, keep = images(16, 12, 8, batch=2), torch.tensor([[0, 5, 23], [7, 8, 9]])
        for whole, some in zip(embedding(volume), embedding(volume, keep), strict=True):
            assert (whole is None) == (some is None)
            if whole is not None and some is not None:
                torch.testing.assert_close(some, whole.take_along_dim(keep[..., None], dim=1))

    @torch.no_grad()
    def test_no_volume_depends_on_its_batch(self, stemmed: ImageEncoderConfig) -> None:
        embedding, volumes = trained(PatchEmbedding(stemmed)), images(16, 12, 8, batch=3)
        alone = torch.cat([embedding(volume)[0] for volume in volumes.split(1)])
        torch.testing.assert_close(embedding(volumes)[0], alone)

    @torch.no_grad()
    def test_it_sees_across_the_border_of_two_patches(self, stemmed: ImageEncoderConfig) -> None:
        embedding, volume = trained(PatchEmbedding(stemmed)), images(16, 16, 16)
        other = volume.clone()
        volume[0, 0, 7, 7, 7], other[0, 0, 7, 7, 7] = -1, 1
        seen = (embedding(volume)[0] - embedding(other)[0]).abs().amax(dim=2).flatten()
        assert seen[42] > 3 * seen.median()  # the patch from (8, 8, 8) on

    @torch.no_grad()
    def test_a_token_is_told_of_each_map_its_largest_value_its_mean_and_how_far_it_stands_out(self) -> None:
        stem = trained(PatchEmbedding(dataclasses.replace(STEMMED, stem_maps=3))).stem
        assert stem is not None
        assert stem.recall is not None
        torch.nn.init.normal_(stem.recall.weight)
        volume = torch.rand(1, STEMMED.embedded_channels, 8, 8, 8)
        maps = stem.draw(volume)
        assert maps.shape == (1, 3, 4, 4, 4)
        patch = maps[0, :, :2, 2:, :2].flatten(1)
        peaks = torch.stack([patch.amax(dim=1) - 0.3, patch.amax(dim=1) + 0.1])
        stem.learn_peaks(peaks)
        soft = torch.tanh(patch / 4)
        told = torch.cat([soft.amax(dim=1), soft.mean(dim=1), torch.full((3,), 0.1 / (2 * 0.2)).tanh()])
        expected = 16 * stem.recall.weight.flatten(1) @ told
        torch.testing.assert_close(stem(volume)[1][0, :, 0, 1, 0], expected)

    @torch.no_grad()
    def test_what_a_map_means_is_added_after_the_blocks(self) -> None:
        backbone = ImageBackbone(dataclasses.replace(STEMMED, stem_maps=3, depth=1)).eval()
        volume, stem = images(8, 8, 8), backbone.down_projection.stem
        assert stem is not None
        before = backbone(volume)
        meanings = torch.randn(12, 3)
        stem.recall_as(meanings)
        standing = torch.tanh(F.max_pool3d(stem.draw(backbone.down_projection.channels(volume)), 2) / 2)
        torch.testing.assert_close(backbone(volume), before + standing.flatten(2).mT @ meanings.T)

    @torch.no_grad()
    def test_maps_are_as_fine_in_bf16(self) -> None:
        stem = trained(PatchEmbedding(dataclasses.replace(STEMMED, stem_maps=3))).stem
        assert stem is not None
        with torch.autocast("cpu", torch.bfloat16):
            drawn = stem.draw(torch.rand(1, STEMMED.embedded_channels, 8, 8, 8))
        assert drawn.dtype == torch.float32
        assert not torch.equal(drawn, drawn.bfloat16().float())

    def test_it_learns_statistics_only_when_told_to(self, stemmed: ImageEncoderConfig) -> None:
        stem = PatchEmbedding(stemmed).train().stem
        assert stem is not None
        before = copy.deepcopy(stem.state_dict())
        volumes = torch.rand(2, STEMMED.embedded_channels, 8, 8, 8)
        stem(volumes)
        assert all(torch.equal(before[name], value) for name, value in stem.state_dict().items())
        stem.learn_statistics(True)
        stem(volumes)
        changed = {name for name, value in stem.state_dict().items() if not torch.equal(before[name], value)}
        assert changed == {name for name in before if name.endswith((".mean", ".variance"))}

    def test_older_documents_have_none(self) -> None:
        document = STEMMED.to_json()
        assert ImageEncoderConfig.from_json(document) == STEMMED
        del document["stem"], document["stem_maps"]
        older = ImageEncoderConfig.from_json(document)
        assert (older.stem, older.stem_maps) == ((), 0)

    @pytest.mark.parametrize(("stem", "maps"), [((), 2), (STEMMED.stem, -1)])
    def test_impossible_maps_are_refused(self, stem: tuple[tuple[int, int], ...], maps: int) -> None:
        with pytest.raises(ValueError, match=rf"the number of maps of a stem, got {maps} for"):
            dataclasses.replace(STEMMED, stem=stem, stem_maps=maps)

    def test_one_number_a_stage_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"got \[8, 32\]"):
            ImageEncoderConfig.from_json(STEMMED.to_json() | {"stem": [8, 32]})

    @pytest.mark.parametrize("stem", [((4, 0),), ((4, 0), (0, 0)), ((4, 0), (4, -1)), ((4, 0), (4, 0), (4, 0))])
    def test_an_impossible_one_is_refused(self, stem: tuple[tuple[int, int], ...]) -> None:
        with pytest.raises(ValueError, match="stem must hold channels and residual units"):
            dataclasses.replace(STEMMED, stem=stem)


def trained(embedding: PatchEmbedding) -> PatchEmbedding:
    """A stem that is no longer as it started."""
    assert embedding.stem is not None
    torch.nn.init.normal_(embedding.stem.leave.weight, generator=torch.Generator().manual_seed(2))
    return embedding


class TestTraining:
    def test_gradient_reaches_the_pooler_through_the_dense_map(self) -> None:
        model = small_model()
        model.encode_image(images(16, 16, 16), pool=False).square().mean().backward()
        pooler = model.image_encoder.pooler.attn
        width = pooler.embed_dim
        assert pooler.in_proj_weight.grad is not None
        assert pooler.out_proj.weight.grad.abs().sum() > 0
        assert pooler.in_proj_weight.grad[2 * width :].abs().sum() > 0
        assert pooler.in_proj_weight.grad[: 2 * width].abs().sum() == 0

    def test_checkpointing_changes_no_gradient(self) -> None:
        gradients = []
        for checkpointing in (False, True):
            model = small_model().train()
            model.image_encoder.backbone.eva.activation_checkpointing = checkpointing
            torch.manual_seed(5)
            model.encode_image(images(16, 16, 16, batch=2)).square().sum().backward()
            gradients.append(torch.cat([p.grad.flatten() for p in model.image_encoder.parameters()]))
        assert torch.equal(*gradients)

    def test_stochastic_depth_grows_linearly_and_keeps_the_mean(self) -> None:
        config = small_config(depth=3, drop_path=0.5)
        blocks = ColipriModel(config).image_encoder.backbone.eva.blocks
        assert [block.drop_path for block in blocks] == pytest.approx([0, 0.25, 0.5])
        torch.manual_seed(0)
        branch = torch.ones(4000, 1, 1)
        skipped = blocks[2].train()._skip(branch)
        assert set(skipped.flatten().tolist()) == {0.0, 2.0}
        assert skipped.mean().item() == pytest.approx(1, abs=0.05)
        assert torch.equal(blocks[2].eval()._skip(branch), branch)


class TestWindows:
    @torch.no_grad()
    def test_windows_are_encoded_alone_and_put_in_place(self) -> None:
        model, volume = small_model(), images(16, 32, 16)
        grid = model.image_features(volume, 16)
        assert grid.shape == (1, 24, 4, 8, 4)
        assert torch.equal(grid[:, :, :, 4:], model.image_features(volume[:, :, :, 16:]))

    @torch.no_grad()
    def test_a_remainder_is_padded_with_the_minimum_and_cropped(self) -> None:
        model, volume = small_model(), images(16, 24, 16)
        grid = model.image_features(volume, 16)
        assert grid.shape == (1, 24, 4, 6, 4)
        padded = torch.full((1, 1, 16, 16, 16), volume.min().item())
        padded[:, :, :, :8] = volume[:, :, :, 16:]
        assert torch.equal(grid[:, :, :, 4:], model.image_features(padded)[:, :, :, :2])

    def test_a_window_that_cuts_patches_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"window must be multiples of the 4-voxel patch"):
            small_model().image_features(images(16, 24, 16), 10)

    @pytest.mark.parametrize(("shape", "steps"), [((16, 16, 16), 2), ((16, 32, 16), 4)])
    @torch.no_grad()
    def test_progress_after_every_block(self, shape: tuple[int, ...], steps: int) -> None:
        seen: list[float] = []
        small_model().image_features(images(*shape), 16, progress=lambda fraction, _: seen.append(fraction))
        assert seen == pytest.approx([(i + 1) / steps for i in range(steps)])

    @pytest.mark.parametrize("shape", [(16, 16, 16), (32, 32, 32)])
    @torch.no_grad()
    def test_cancel_is_answered_within_a_block(self, shape: tuple[int, ...]) -> None:
        model, token, seen = small_model(), CancelToken(), []

        def stop(fraction: float, _: str) -> None:
            seen.append(fraction)
            token.cancel()

        with pytest.raises(Cancelled):
            model.image_features(images(*shape), 16, progress=stop, cancel=token)
        assert len(seen) == 1
        token = CancelToken()
        assert model.image_features(images(*shape), 16, cancel=token).isfinite().all()


class TestConfig:
    def test_json_round_trip(self) -> None:
        assert ModelConfig.from_json(ModelConfig.published().to_json()) == ModelConfig.published()

    @pytest.mark.parametrize("sizes", [{"width": 40, "heads": 4}, {"width": 48, "heads": 5}, {"depth": 0}])
    def test_impossible_sizes_are_refused(self, sizes: dict[str, int]) -> None:
        with pytest.raises(ValueError, match=r"must be"):
            ImageEncoderConfig(**sizes)

    def test_encoders_must_share_one_space(self) -> None:
        config = small_config()
        with pytest.raises(ValueError, match=r"no projector"):
            ModelConfig(image=ImageEncoderConfig(embed_dim=96), text=config.text)
