"""Training of the interactive segmenter: exact resume, a loss that falls, a stop on SIGTERM, a bundle that opens."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from colipri_core.errors import Cancelled
from colipri_core.model.click_bundle import load_click_bundle
from colipri_core.model.click_config import ClickNetworkConfig
from colipri_training.cli.main import app
from colipri_training.clicks.config import ClickConfig
from colipri_training.clicks.episodes import Episodes
from colipri_training.clicks.export import export
from colipri_training.clicks.trainer import ClickTrainer

SMALL = ClickConfig(
    network=ClickNetworkConfig(channels=4, levels=1, widest=8),
    region=16,
    shipped_region=16,
    batch_size=2,
    chest_share=0.0,
    longest=3,
    steps=6,
    warmup_steps=2,
    bf16=False,
    checkpoint_every=100,
    validate_every=100,
    validation_scenes=2,
)


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in records(folder)]


def test_a_run_goes_on_exactly(tmp_path: Path) -> None:
    whole = ClickTrainer(SMALL, tmp_path / "whole")
    whole.run()
    first = ClickTrainer(dataclasses.replace(SMALL, steps=3), tmp_path / "parts")
    # The rate follows the share of the run that is done, so the first part must know of the whole.
    first.config = SMALL
    for _ in range(3):
        first._one_step()
    first.save()

    second = ClickTrainer(SMALL, tmp_path / "parts")
    assert second.resume()
    second.run()

    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    for name, value in whole.averaged.state_dict().items():
        assert torch.equal(second.averaged.state_dict()[name], value)


def test_the_loss_falls(tmp_path: Path) -> None:
    network = dataclasses.replace(SMALL.network, channels=8, widest=16)
    config = dataclasses.replace(SMALL, network=network, steps=80, batch_size=4, learning_rate=1e-2)

    ClickTrainer(config, tmp_path).run()

    values = losses(tmp_path)
    assert sum(values[-20:]) < 0.93 * sum(values[:20])


def test_it_validates_on_scenes_it_never_trains_on(tmp_path: Path) -> None:
    ClickTrainer(dataclasses.replace(SMALL, steps=2, validate_every=2), tmp_path).run()

    last = records(tmp_path)[-1]
    assert {"dice_after_1", "dice_after_3", "dice_after_5"} <= set(last)
    assert all(0 <= last[name] <= 1 for name in last if name.startswith("dice"))


def test_it_saves_and_stops_on_sigterm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = ClickTrainer(dataclasses.replace(SMALL, steps=1000), tmp_path)
    step = trainer._train_step

    def interrupted() -> dict[str, float]:
        if trainer.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step()

    monkeypatch.setattr(trainer, "_train_step", interrupted)
    with pytest.raises(Cancelled, match="after step 3"):
        trainer.run()

    again = ClickTrainer(dataclasses.replace(SMALL, steps=1000), tmp_path)
    assert again.resume()
    assert again.step == trainer.step == 3


def test_a_run_bounded_by_time_ends(tmp_path: Path) -> None:
    trainer = ClickTrainer(SMALL, tmp_path, minutes=0.01)

    trainer.run()

    assert trainer.share_done == 1
    assert trainer.step >= 1


def test_the_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    ClickTrainer(dataclasses.replace(SMALL, steps=1), tmp_path).run()

    with pytest.raises(ValueError, match=r"another config \(longest: [0-9]+, now 5\)"):
        ClickTrainer(dataclasses.replace(SMALL, longest=5), tmp_path).resume()


def test_an_episode_goes_from_click_to_correction_to_the_next_object() -> None:
    episodes = Episodes(dataclasses.replace(SMALL, longest=4))
    nothing = torch.zeros_like(episodes.targets, dtype=torch.bool)
    before = episodes.targets.clone()

    for _ in range(4):
        assert episodes.hints.amin() >= 0
        assert episodes.hints.amax() <= 1
        assert episodes.hints[:, 1:].flatten(1).any(dim=1).all()
        episodes.advance(nothing)

    assert not torch.equal(episodes.targets, before)


def test_an_export_opens_with_the_averaged_weights(tmp_path: Path) -> None:
    trainer = ClickTrainer(dataclasses.replace(SMALL, steps=2), tmp_path / "run")
    with pytest.raises(ValueError, match="nothing to export"):
        export(trainer, tmp_path / "bundle")
    trainer.run()

    spec = export(trainer, tmp_path / "bundle")
    bundle = load_click_bundle(tmp_path / "bundle")

    assert bundle.spec == spec
    assert "4 regions" in spec.training_data
    assert spec.synthetic
    for name, value in trainer.averaged.state_dict().items():
        assert torch.equal(bundle.network.state_dict()[name], value)


def test_weights_to_begin_with(tmp_path: Path) -> None:
    one = ClickTrainer(dataclasses.replace(SMALL, steps=1), tmp_path / "one")
    one.run()
    other = ClickTrainer(dataclasses.replace(SMALL, seed=5), tmp_path / "other")

    other.start_from(one.averaged.state_dict(), origin="one (12345678)")

    for name, value in one.averaged.state_dict().items():
        assert torch.equal(other.network.state_dict()[name], value)
    other.step = 1
    assert "Began with the weights of one (12345678)." in export(other, tmp_path / "bundle").training_data


def test_weights_of_a_network_without_walks_to_begin_with(tmp_path: Path) -> None:
    plain = dataclasses.replace(SMALL, steps=1, network=dataclasses.replace(SMALL.network, walks_hu=()))
    one = ClickTrainer(plain, tmp_path / "one")
    one.run()
    other = ClickTrainer(SMALL, tmp_path / "other")

    other.start_from(one.averaged.state_dict(), origin="one (12345678)")

    hu, hints = one.episodes.hu, one.episodes.hints
    assert hints[:, 1].max() > 0.5
    torch.testing.assert_close(other.averaged(hu, hints), one.averaged(hu, hints))


class TestCommand:
    def test_it_refuses_a_folder_that_holds_a_run(self, tmp_path: Path) -> None:
        ClickTrainer(dataclasses.replace(SMALL, steps=1), tmp_path).run()

        result = CliRunner().invoke(app, ["clicks", "--output", str(tmp_path), "--steps", "1"])

        assert isinstance(result.exception, ValueError)
        assert "--resume" in str(result.exception)

    def test_it_refuses_two_lengths(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(app, ["clicks", "--output", str(tmp_path), "--steps", "1", "--minutes", "1"])

        assert isinstance(result.exception, ValueError)
        assert "not both" in str(result.exception)
