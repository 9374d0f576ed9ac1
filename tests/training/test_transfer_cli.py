"""`colipri-train transfer` and `cost`: from encoders to tables, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_encoders import save_small_encoder

from colipri_training.cli.main import main
from colipri_training.cost import step_cost
from colipri_training.recipes.registry import recipe
from colipri_training.transfer.tables import markdown
from colipri_training.transfer.tables import read_results
from colipri_training.transfer.tables import summary

TINY = ["--set", "volumes.size=[16,16,16]", "--set", "volumes.spacing_mm=[8,8,8]", "--set", "crop=[16,16,16]",
        "--set", "volumes.train=4", "--set", "volumes.test=2", "--set", "optimizer.steps=1", "--set", "decoder.width=4",
        "--set", "bf16=false"]  # fmt: skip


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return save_small_encoder(tmp_path / "small")


def test_from_encoders_to_a_table(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "out")
    inits = ["--init", f"own={bundle}", "--init", f"scratch=random:{bundle}"]
    fractions = ["--fraction", "0.5", "--fraction", "1"]
    segmentation = ["transfer", "segmentation", "--output", output, *inits, *fractions, "--seeds", "1", *TINY]
    assert main(segmentation) == 0
    assert main([*segmentation, "--json"]) == 0
    printed = capsys.readouterr().out
    rows = json.loads(printed[printed.index("[\n") :])
    assert [(row["label"], row["fraction"], row["train_cases"]) for row in rows] == [
        ("own", 0.5, 2), ("scratch", 0.5, 2), ("own", 1.0, 4), ("scratch", 1.0, 4),
    ]  # fmt: skip
    assert {"organ Dice", "organ NSD"} <= set(rows[0]["figures"])

    assert (
        main(["transfer", "classification", "--output", output, *inits, "--encoder", "probe", *TINY, "--seeds", "2"])
        == 0
    )
    assert main(["transfer", "table", output, "--output", str(tmp_path / "table.json"), "--order", "scratch"]) == 0
    document = json.loads((tmp_path / "table.json").read_text())
    assert len(document["experiments"]) == 4 + 2 * 2
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| scratch | probe")]
    assert lines


def test_rows_are_means_over_seeds(tmp_path: Path) -> None:
    for seed, value in enumerate((0.2, 0.4)):
        place = tmp_path / f"run-{seed}"
        place.mkdir()
        figures = {"dice": {"value": value, "low": 0.0, "high": 1.0}, "nsd": {"value": None, "low": None, "high": None}}
        document = {
            "label": "own", "recipe": "r", "task": "segmentation", "use": "frozen", "fraction": 0.01, "train_cases": 2,
            "seed": seed, "steps": 5, "seconds": 1.0, "cases": 7, "groups": {"organ": figures},
        }  # fmt: skip
        (place / "result.json").write_text(json.dumps(document))
    results = read_results(tmp_path)
    (row,) = summary(results)
    assert row["figures"] == {"organ Dice": {"mean": pytest.approx(0.3), "sd": pytest.approx(0.2 / 2**0.5)}}
    assert "| own | frozen | 1 % | 2 | 2 | 0.300 (0.141) | - | - | - |" in markdown(results)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--init", "nothing-like-this", *TINY], "nothing-like-this"),
        (["--init", "random:resnet", "--recipe", "findings"], "Available: organs-and-lesions"),
        (["--init", "random:resnet", "--fraction", "0"], "fraction must be in (0, 1]"),
        (["--init", "random:resnet", "--encoder", "thawed"], "encoder must be"),
        (["--init", "random:resnet", "--set", "crop=[500,500,500]"], "crop must fit"),
        (["--init", "random:resnet", "--set", 'targets=["Lungz"]'], "Lungz"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transfer", "segmentation", "--output", str(tmp_path / "out"), "--seeds", "1", *arguments]) != 0
    assert said in capsys.readouterr().err


def test_a_folder_without_experiments_has_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transfer", "table", str(tmp_path)]) == 2
    assert "found none" in capsys.readouterr().err


class TestCost:
    def test_both_objectives_cost_what_each_costs(self) -> None:
        whole, contrast, restoration, free = (
            step_cost(recipe(f"t3d_smoke{suffix}", 100)) for suffix in ("", "_contrast", "_restoration", "_textfree")
        )
        assert whole.image == contrast.image
        assert whole.reconstruction == restoration.reconstruction
        assert whole.text == contrast.text == restoration.text
        assert free.text == 0
        assert whole.training == 3 * (whole.image + whole.text + whole.reconstruction)
        assert min(whole.image, whole.text, whole.reconstruction) > 0

    def test_twice_the_scans_cost_more_than_twice_as_much(self) -> None:
        """Every scan is compared with every other one, told its report; encoding alone doubles."""
        one = recipe("t3d_smoke_contrast_textfree", 100)
        two = one.changed(["data.batch_size=8"])
        ratio = step_cost(two).training / step_cost(one).training
        assert 2 < ratio < 4

    def test_settings_reach_what_is_counted(self, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["cost", "t3d_smoke_contrast", "--like", "t3d_smoke", "--steps", "10"]
        assert main(arguments) == 0
        assert main([*arguments, "--set", "data.crop=[16,16,16]"]) == 0
        large, small = (line.split() for line in capsys.readouterr().out.splitlines())
        assert float(small[1]) < float(large[1])
        assert int(large[2]) > 10
