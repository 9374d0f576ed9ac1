"""The `colipri-train` command: every verb and option explains itself, and mistakes end with a message and a code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer

from colipri_training.cli.main import app
from colipri_training.cli.main import main

VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_verbs_stand_in_the_order_of_the_work() -> None:
    order = ["phantoms", "manifest", "sort-reports", "prepare", "stem", "pretrain", "structures", "writer", "phrases"]
    order += ["clicks", "probe", "report", "export", "evaluate"]
    assert list(VERBS)[: len(order)] == order


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_option_explains_itself(verb: str) -> None:
    command = VERBS[verb]
    assert command.help
    assert [parameter.name for parameter in command.params if not getattr(parameter, "help", None)] == []


STAGES = ["phantoms", "prepare", "stem", "pretrain", "structures", "writer", "phrases", "clicks", "probe", "report"]
STAGES += ["export", "evaluate"]


@pytest.mark.parametrize("verb", STAGES)
def test_every_stage_takes_resume(verb: str) -> None:
    assert "--resume" in {flag for parameter in VERBS[verb].params for flag in parameter.opts}


def test_resume_goes_on_and_says_where_there_is_nothing_to_go_on_from(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    command = ["pretrain", "--recipe", "smoke-c", "--output", str(folder), "--resume", "--set", "optimizer.steps=1"]
    assert main(command) == 0
    assert "Nothing to resume" in capsys.readouterr().err
    steps = (folder / "log.jsonl").read_text()
    assert main(command) == 0
    assert "Nothing to resume" not in capsys.readouterr().err
    assert (folder / "log.jsonl").read_text() == steps


def test_overrides_may_stand_bare(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    bare = ["optimizer.steps=1", "compute.tensorboard=true"]
    assert main(["pretrain", "--recipe", "smoke-c", "--output", str(folder), "--set", "seed=3", *bare]) == 0
    config = json.loads((folder / "config.json").read_text())
    assert (config["optimizer"]["steps"], config["compute"]["tensorboard"], config["seed"]) == (1, True, 3)
    assert main(["cost", "smoke-c", "optimizer.steps=7"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[::2] == ["smoke-c", "7"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["pretrain", "--bogus"], 2, "No such option"),
        (["pretrain"], 2, "--output"),
        (["frobnicate"], 2, "No such command"),
        (["pretrain", "--output", "F", "--recipe", "smoke-x"], 2, 'Unknown recipe "smoke-x"'),
        (["pretrain", "--output", "F", "--recipe", "colipri-crm"], 2, "--data"),
        (["pretrain", "--output", "F", "--recipe", "smoke-crm"], 2, "colipri-train prepare --recipe smoke-crm"),
        (["pretrain", "--output", "F", "--set", "optimizer.step=1"], 2, "Fields there"),
        (["pretrain", "--output", "F", "optimizer.step=1"], 2, "Fields there"),
        (["pretrain", "--output", "F", "optimizer.steps=many"], 2, "optimizer.steps must be int"),
        (["pretrain", "--output", "F", "tiny"], 2, 'got "tiny"'),
        (["clicks", "--output", "F", "pace=1"], 2, 'got "pace=1"'),
        (["transfer", "segmentation", "--output", "F", "--init", "tiny", "pace=1"], 2, 'got "pace=1"'),
        (["prepare", "none.csv", "other.csv", "--output", "F"], 2, "one manifest"),
        (["prepare", "none.csv", "seed=1", "--output", "F"], 2, "--set"),
        (["cost", "smoke-c", "pace=1"], 2, 'got "pace=1"'),
        (["pretrain", "--output", "F", "--recipe", "smoke-crm", "--data", "F/none"], 3, "found none"),
        (["prepare", "none.csv", "--output", "F", "--set", "seed=1"], 2, "--set"),
        (["prepare", "none.csv", "--output", "F"], 3, "none.csv"),
        (["export", "--output", "F", "F/bundle"], 2, "No run was begun"),
        (["structures", "--output", "F"], 2, "No run was begun"),
        (["probe", "--output", "F"], 2, "No run was begun"),
        (["probe", "--output", "F", "--init", "tiny", "--cases", "small-segmentation"], 2, "Available: findings"),
        (["compare", "F"], 2, "config.json"),
        (["cost", "smoke-x"], 2, "Unknown recipe"),
        (["pretrain", "--output", "F", "--recipe", "smoke", "name=mine"], 2, "export --name"),
        (["pretrain", "--output", "F", "--recipe", "smoke", "optimizer.steps=0"], 2, "at least 1"),
        (["transfer", "classification", "--output", "F", "--init", "tiny", "seed=3"], 2, "--first-seed"),
        (["transfer", "segmentation", "--output", "F", "--init", "tiny", "--set", "fraction=0.5"], 2, "--fraction"),
        (["probe", "--output", "F", "--init", "tiny", 'encoder="frozen"'], 2, "--encoder"),
        (["transfer", "segmentation", "--output", "F", "--init", "tiny", "--device", "cudax"], 2, '"cudax" cannot'),
        (["evaluate", "--output", "F", "--device", "meta"], 2, '"meta" cannot'),
        (["evaluate", "--output", "F", "--device", "cuda:99"], 2, '"cuda:99" cannot'),
        (["writer", "--output", "F", "--first-case", "999999", "--cases", "4"], 2, "those of validation"),
        (["phrases", "--output", "F", "--first-case", "1000000", "--cases", "1"], 2, "those of validation"),
        (["writer", "--output", "F", "save_every=0"], 2, "at least 1"),
    ],
)
def test_mistakes_end_with_a_message_and_a_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("error: ")
    assert captured.out == ""


def test_a_run_from_phantoms_to_a_bundle_and_a_table(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    common = ["--output", str(folder), "--set", "optimizer.steps=1", "--set", "compute.tensorboard=true"]
    assert main(["pretrain", "--recipe", "smoke-cm", *common]) == 0
    assert list((folder / "tensorboard").glob("events.*"))
    probing = ["volumes.size=[16,16,16]", "volumes.spacing_mm=[8,8,8]", "crop=[16,16,16]", "volumes.train=4"]
    probing = ["probe", "--output", str(folder), "--seeds", "1", "--json", "volumes.test=2", *probing]
    assert main([*probing, "--recipe", "smoke-c"]) == 2
    capsys.readouterr()
    assert main(probing) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["label"], row["use"], row["train_cases"]) == ("smoke-cm", "probe", 4)
    assert list((folder / "probe").glob("smoke-cm-*/result.json"))
    assert main(["export", "--output", str(folder), str(tmp_path / "bundle"), "--recipe", "smoke-c"]) == 2
    assert main(["export", "--output", str(folder), str(tmp_path / "bundle"), "--name", "mine"]) == 0
    assert json.loads((tmp_path / "bundle" / "spec.json").read_text())["name"] == "mine"
    capsys.readouterr()
    assert main(["compare", str(folder), "--output", str(tmp_path / "table.json")]) == 0
    assert "| smoke-cm | 1 | 1 |" in capsys.readouterr().out
    assert json.loads((tmp_path / "table.json").read_text())["runs"][0]["name"] == "smoke-cm"


def test_overrides_of_the_structure_head_are_exported(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    output = ["--output", str(folder)]
    assert main(["pretrain", "--recipe", "smoke", *output, "optimizer.steps=1", "sentence_steps=0"]) == 0
    assert main(["structures", *output, "canals=2"]) == 2
    assert main(["structures", *output, "channels=2", "optimizer.steps=1"]) == 0
    assert len((folder / "structures.jsonl").read_text().splitlines()) == 1
    assert main(["structures", *output, "channels=4"]) == 2
    assert "other settings" in capsys.readouterr().err
    assert main(["structures", *output, "--resume"]) == 0
    assert main(["export", *output]) == 0
    assert json.loads((folder / "bundle" / "spec.json").read_text())["structures"]["config"]["channels"] == 2


def test_preparing_nothing_but_unusable_volumes_is_unfit_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scan.nii.gz").write_bytes(b"no volume")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("id,image,report,split,patient\na,scan.nii.gz,Normal.,train,a\n")
    assert main(["prepare", str(manifest), "--output", str(tmp_path / "out"), "--workers", "1"]) == 3
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")


def test_a_run_of_equal_cost_has_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "smoke-crm", "--like", "smoke-c", "--steps", "1"]) == 0
    assert capsys.readouterr().out.split()[-1] == "1"


def test_cost_prints_a_line_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "smoke-c", "smoke-crm", "--like", "smoke-crm", "--steps", "100"]) == 0
    first, second = (line.split() for line in capsys.readouterr().out.splitlines())
    assert (first[0], second[0], second[2]) == ("smoke-c", "smoke-crm", "100")
    assert float(first[1]) * int(first[2]) == pytest.approx(float(second[1]) * 100, rel=0.01)
