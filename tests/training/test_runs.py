"""The bundled run scripts: every command in them is one that the real command lines accept."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from repository import ROOT
from torch.distributed.run import get_args_parser

from colipri_training.cli.main import app
from colipri_training.cli.main import main
from colipri_training.config import RunOptions
from colipri_training.recipes.registry import RECIPES
from colipri_training.transfer.recipes import recipe as transfer_recipe

RUNS = ROOT / "training" / "runs"
SCRIPTS = sorted(RUNS.glob("*.sh"))
NAMED = {
    "colipri_slurm.sh": ["out/x", "--set", "compute.sharded=true"],
    "report_llm.sh": ["a/language-model", "a/store"],
}
CALLED = ("colipri-train", "torchrun", "srun", "cp")


def call(script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "CT_RATE": "/data/CT RATE", "NLST": "/data/NLST", **environment}
    return subprocess.run(
        ["bash", str(script), *arguments], env=variables, capture_output=True, text=True, check=False, timeout=280
    )


def commands(script: Path, folder: Path) -> list[list[str]]:
    """What a script would run: its own DRY_RUN, or programs put in its way that only say how they were called."""
    called = folder / "called"
    called.touch()
    for name in CALLED:
        stub = folder / name
        stub.write_text(f'#!/bin/bash\n{{ printf "%q " {name} "$@"; echo; }} >> {shlex.quote(str(called))}\n')
        stub.chmod(0o755)
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = call(script, *NAMED.get(script.name, []), DRY_RUN="1", PATH=path)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in (done.stdout + called.read_text()).splitlines()]


def parse(command: list[str]) -> str | None:
    """Parse a command as the program itself would; returns the verb of `colipri-train`, if it is one."""
    if command[0] == "srun":
        return parse(command[2:])
    if command[0] == "torchrun":
        given = get_args_parser().parse_args(command[1:])
        assert given.no_python
        return parse([given.training_script, *given.training_script_args])
    if command[0] != "colipri-train":
        return None
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    if command[1] == "transfer":
        return parse_transfer(verbs["transfer"].commands[command[2]], command[2:])
    context = verbs[command[1]].make_context(command[1], list(command[2:]))
    for name in context.params.get("recipes", []):
        RECIPES[name](vocab_size=100).changed(context.params["settings"])
    if "recipe" in context.params:
        assert context.params["recipe"] in (None, *RECIPES)
    if "recipe" in context.params and (settings := context.params.get("settings")):
        RECIPES[context.params["recipe"]](vocab_size=100).changed(settings)
    return command[1]


def parse_transfer(verb: Any, command: list[str]) -> str:
    context = verb.make_context(command[0], list(command[1:]))
    if "recipe" in context.params:
        transfer_recipe(context.params["recipe"], command[0]).changed(context.params["settings"] or ())  # type: ignore[arg-type]
    return "transfer"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_script_is_shell(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize(
    "script",
    [pytest.param(script, id=script.name) for script in SCRIPTS if script.name != "commands.sh"],
)
def test_every_command_in_it_parses(script: Path, tmp_path: Path) -> None:
    verbs = [verb for command in commands(script, tmp_path) if (verb := parse(command))]
    expected = {
        "ablations.sh": {"prepare": 1, "cost": 1, "pretrain": 15, "compare": 1, "transfer": 7},
        "colipri_crm_ctrate.sh": {"manifest": 2, "prepare": 2, "pretrain": 1, "export": 1, "evaluate": 1},
        "colipri_slurm.sh": {"pretrain": 1},
        "tiny.sh": {
            **dict.fromkeys(("prepare", "stem", "structures", "writer", "phrases", "evaluate"), 1),
            "pretrain": 2,
            "export": 2,
        },
        "sample.sh": {"phantoms": 1},
        "clicks.sh": {"clicks": 1},
        "report_llm.sh": {"report": 1},
        "t3d.sh": {"manifest": 1, "prepare": 1, "pretrain": 1, "structures": 1, "export": 1},
        "t3d_tiny.sh": {"phantoms": 2, "manifest": 1, "prepare": 1, "pretrain": 7, "structures": 7, "export": 7},
        "t3d_ablation.sh": {"phantoms": 2, "manifest": 1, "prepare": 1, "cost": 1, "pretrain": 15, "transfer": 7},
    }
    assert {verb: verbs.count(verb) for verb in verbs} == expected[script.name]


def test_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["torchrun", "--nproc-per-node", "2", "--no-python", "colipri-train", "pretrain", "--bogus", "1"])
    with pytest.raises(Exception, match="Missing"):
        parse(["colipri-train", "pretrain"])
    assert RunOptions().settings == ()


def test_data_that_are_not_named_end_the_script_with_a_reason() -> None:
    done = call(RUNS / "colipri_crm_ctrate.sh", CT_RATE="")
    assert done.returncode != 0
    assert "folder of CT-RATE" in done.stderr


@pytest.mark.parametrize("script", ["t3d.sh", "colipri_crm_ctrate.sh"])
def test_a_dry_run_needs_no_data(script: str) -> None:
    done = call(RUNS / script, CT_RATE="", NLST="", DRY_RUN="1")
    assert done.returncode == 0, done.stderr
    assert "colipri-train manifest ct-rate-v2 CT_RATE" in done.stdout


def test_the_steps_of_equal_cost_reach_the_runs(tmp_path: Path) -> None:
    """With a `colipri-train` in the way that knows nothing but costs."""
    costs = {name: str(number) for number, name in enumerate(("c", "cm", "cr", "crm", "crm-opposite"), start=11)}
    lines = "\n".join(f"echo tiny-{name} 0.5 {steps}" for name, steps in costs.items())
    record = (
        f'printf "%q " "$@" >> {shlex.quote(str(tmp_path / "called"))}; echo >> {shlex.quote(str(tmp_path / "called"))}'
    )
    (tmp_path / "out" / "phantoms" / "tokenizer").mkdir(parents=True)
    stub = tmp_path / "colipri-train"
    stub.write_text(f"#!/bin/bash\n{record}\nif [[ $1 == cost ]]; then\n{lines}\nfi\n")
    stub.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = call(RUNS / "ablations.sh", str(tmp_path / "out"), PATH=path, SEEDS="0 1")
    assert done.returncode == 0, done.stderr
    called = [shlex.split(line) for line in (tmp_path / "called").read_text().splitlines()]
    steps = [(call[2], call[call.index("--set") + 1]) for call in called if call[0] == "pretrain"]
    assert steps == 2 * [(f"tiny-{name}", f"optimizer.steps={costs[name]}") for name in costs]
    assert (tmp_path / "out" / "tiny-cr-1" / "cases").readlink() == Path("../phantoms/cases")
    assert (tmp_path / "out" / "tiny-cr-1" / "tokenizer").is_dir()


@pytest.mark.parametrize("size", ["small", "smoke", "full"])
def test_the_variants_differ_in_what_they_learn_alone(size: str) -> None:
    done = call(RUNS / "ablations.sh", "out/x", DRY_RUN="1", SIZE=size, SEEDS="0")
    runs = [line for line in map(shlex.split, done.stdout.splitlines()) if line[1] == "pretrain"]
    settings = [[line[place + 1] for place, word in enumerate(line) if word == "--set"] for line in runs]
    settings = [[setting for setting in each if not setting.startswith("data.unpaired")] for each in settings]
    assert len(settings) == 5
    assert all(each == settings[0] for each in settings)


@pytest.mark.slow
def test_the_ablations_run_from_nothing_to_two_tables(tmp_path: Path) -> None:
    """Every command of the script at the smallest size, one after the other; `colipri-train` in this process."""
    done = call(RUNS / "ablations.sh", str(tmp_path), DRY_RUN="1", SIZE="smoke", SEEDS="0")
    for line in done.stdout.splitlines():
        command = shlex.split(line)
        if command[0] == "colipri-train":
            assert main(command[1:]) == 0, line
        else:
            subprocess.run(command, check=True)
    recipes = [f"smoke-{name}" for name in ("c", "cm", "cr", "crm", "crm-opposite")]
    table = json.loads((tmp_path / "table.json").read_text())
    assert list(table["recipes"]) == recipes
    assert len(table["runs"]) == 5
    frozen = json.loads((tmp_path / "frozen.json").read_text())
    assert {row["label"] for row in frozen["rows"] if row["use"] == "probe"} == set(recipes)
    assert {row["label"] for row in frozen["rows"] if row["use"] == "frozen"} == set(recipes)


@pytest.mark.parametrize("size", ["small", "smoke", "full"])
def test_t3d_and_its_twins_differ_in_what_they_learn_alone(size: str) -> None:
    done = call(RUNS / "t3d_ablation.sh", "out/x", DRY_RUN="1", SIZE=size, SEEDS="0 1")
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    runs = [line for line in lines if line[1] == "pretrain"]
    assert len(runs) == 10
    settings = [[line[place + 1] for place, word in enumerate(line) if word == "--set"] for line in runs[:5]]
    assert all(each == settings[0] for each in settings[1:])
    names = [line[line.index("--recipe") + 1] for line in runs[:5]]
    assert [name.partition("_")[2].removeprefix("tiny").removeprefix("smoke").lstrip("_") for name in names] == [
        "contrast_textfree", "restoration_textfree", "masked_textfree", "textfree", "",
    ]  # fmt: skip
    fitted = [line for line in lines if line[1:3] == ["transfer", "segmentation"]]
    inits = [fitted[1][place + 1] for place, word in enumerate(fitted[1]) if word == "--init"]
    assert inits[0] == "scratch=random:out/x/t3d-1"
    assert [init.partition("=")[2] for init in inits[1:]] == [line[line.index("--output") + 1] for line in runs[5:]]


@pytest.mark.parametrize("script", ["ablations.sh", "t3d_ablation.sh"])
def test_a_size_that_is_none_ends_the_script(script: str) -> None:
    done = call(RUNS / script, DRY_RUN="1", SIZE="huge")
    assert done.returncode == 2
    assert "small, full or smoke" in done.stderr


@pytest.mark.slow
def test_t3d_is_compared_from_nothing_to_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call(RUNS / "t3d_ablation.sh", str(tmp_path), DRY_RUN="1", SIZE="smoke", SEEDS="0")
    for line in done.stdout.splitlines():
        assert main(shlex.split(line)[1:]) == 0, line
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| t3d | finetuned | 1 %")]
    assert rows
    document = json.loads((tmp_path / "table.json").read_text())
    assert {row["label"] for row in document["rows"]} == {
        "scratch", "contrast", "restoration", "masked-autoencoding", "both", "t3d",
    }  # fmt: skip
    assert len(document["experiments"]) == 6 * (3 + 2)
