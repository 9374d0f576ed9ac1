"""What recipes cost, against operations counted while they compute; and the table of finished runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend
from torch.nn.attention import sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from colipri_training.ablation import compare
from colipri_training.config import PretrainConfig
from colipri_training.cost import encoder_cost
from colipri_training.cost import step_cost
from colipri_training.cost import steps_of_equal_cost
from colipri_training.data.batch import Batch
from colipri_training.data.batch import Text
from colipri_training.distributed import World
from colipri_training.network import PretrainNetwork
from colipri_training.objectives.reconstruction import hide
from colipri_training.recipes.registry import RECIPES


def texts(count: int, length: int) -> Text:
    return torch.ones(count, length, dtype=torch.int64), torch.ones(count, length, dtype=torch.int64)


def longest_batch(config: PretrainConfig) -> Batch:
    """A batch whose texts are as long as they may be."""
    data, sentences = config.data, 18
    assert config.report is not None
    assert config.reconstruction is not None
    batch = Batch(
        images=torch.zeros(data.batch_size, 1, *config.preprocessing.size),
        keep=torch.arange(data.tokens).expand(data.batch_size, -1),
        findings=torch.zeros(data.batch_size, 18, dtype=torch.int8),
        regions=torch.zeros(data.batch_size, 18, data.tokens, dtype=torch.int8),
        reports=texts(data.batch_size, data.max_report_length),
        affirming=texts(sentences, data.max_sentence_length),
        denying=texts(sentences, data.max_sentence_length),
        targets=texts(data.batch_size, config.report.max_length),
    )
    return hide(batch, config.reconstruction, 8, seed=0, world=World(device=torch.device("cpu")))


@pytest.mark.parametrize("recipe", ["smoke-c", "smoke-crm-opposite"])
def test_counted_on_shapes_as_while_computing(recipe: str) -> None:
    config = RECIPES[recipe](vocab_size=100)
    torch.manual_seed(0)
    network = PretrainNetwork(config).eval()
    # The processor's own attention kernel is one that the counter does not know.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(longest_batch(config))
    assert step_cost(config).forward == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_a_volume_of_the_published_size_costs_what_is_known_of_it() -> None:
    """About 15 TFLOP in a forward pass, 6 at 160 voxels: from the shapes, four fifths of it attention."""
    config = RECIPES["colipri-c"](vocab_size=30522)
    assert step_cost(config).image / config.data.batch_size == pytest.approx(14.6e12, rel=0.02)
    small = config.changed(["data.volumes.crop=[160,160,160]"])
    assert step_cost(small).image / config.data.batch_size == pytest.approx(6.1e12, rel=0.05)
    quarter = encoder_cost(config, 3456)
    assert 4 < encoder_cost(config, 13824) / quarter < 16


def test_equal_cost() -> None:
    one, other = (RECIPES[name](vocab_size=100) for name in ("smoke-c", "smoke-crm"))
    long = dataclasses.replace(other, optimizer=dataclasses.replace(other.optimizer, steps=1000))
    steps = steps_of_equal_cost(one, long)
    assert steps > 1000
    assert steps * step_cost(one).training == pytest.approx(1000 * step_cost(other).training, rel=0.001)


def finished(folder: Path, recipe: str, seed: int, auroc: float, *, steps: int = 3) -> Path:
    config = RECIPES[recipe](vocab_size=100).changed([f"seed={seed}", "optimizer.steps=3"])
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config.to_json()))
    records = [{"step": step, "seconds": 1200.0, "loss": 1.0} for step in range(1, steps + 1)]
    records[-1] |= {"validation_macro_auroc": auroc, "retrieval/pool": 40.0, "validation_volumes": 64.0}
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


class TestComparison:
    def test_seeds_of_a_recipe_become_one_row(self, tmp_path: Path) -> None:
        folders = [finished(tmp_path / f"c{seed}", "smoke-c", seed, 0.6 + 0.1 * seed) for seed in range(3)]
        comparison = compare([*folders, finished(tmp_path / "crm", "smoke-crm", 0, 0.9)])
        table = comparison.table().splitlines()
        assert table[0].startswith("| recipe | seeds | steps | PFLOP | hours | macro AUROC |")
        assert table[2].startswith("| smoke-c | 3 | 3 | 0.00 | 1.00 | 0.700 (0.100) | - |")
        assert table[3].startswith("| smoke-crm | 1 | 3 |")
        assert "0.900 |" in table[3]
        assert "on 64 validation volumes; retrieval among 40 reports" in table[-1]
        spread = comparison.to_json()["recipes"]["smoke-c"]["validation_macro_auroc"]
        assert spread == {"mean": pytest.approx(0.7), "sd": pytest.approx(0.1)}

    def test_a_run_on_its_way_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="stands at step 2 of 3"):
            compare([finished(tmp_path / "run", "smoke-c", 0, 0.5, steps=2)])

    def test_a_folder_without_a_run_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"found no config.json and no log.jsonl"):
            compare([tmp_path])
