"""`colipri-train transfer`: segmentation and classification with few labels, from any encoder or from scratch."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer

from colipri_training.cli.stages import OverridesArgument
from colipri_training.cli.stages import ResumeOption
from colipri_training.cli.stages import SettingsOption
from colipri_training.cli.stages import tell_start

if TYPE_CHECKING:
    from colipri_training.transfer.config import Task
    from colipri_training.transfer.config import TransferConfig
    from colipri_training.transfer.experiment import Experiment

app = typer.Typer(
    name="transfer", no_args_is_help=True, help="Fine-tune or probe encoders for segmentation and findings."
)

_OPTIONS = {
    "seed": "--first-seed (and --seeds for how many)",
    "fraction": "--fraction",
    "encoder": "--encoder (`probe` keeps it frozen)",
}
"""Fields that a whole table is made over."""

OutputOption = Annotated[Path, typer.Option(help="Folder of the experiments; those that are finished are kept.")]
InitOption = Annotated[
    list[str],
    typer.Option(
        help="Encoder, as LABEL=SOURCE or SOURCE; repeatable. A bundle's folder, name or hub id; the folder of a "
        "pretraining run; random:SOURCE or random:resnet for fresh weights (from scratch)."
    ),
]
FractionOption = Annotated[
    list[float] | None, typer.Option(help="Share of the labelled cases, such as 0.01; repeatable. 1 if omitted.")
]
EncoderOption = Annotated[
    list[str] | None, typer.Option(help="frozen, slowed or finetuned; repeatable. finetuned if omitted.")
]
SeedsOption = Annotated[int, typer.Option(min=1, help="Seeds: few-shot subset, new weights, crops.")]
FirstSeedOption = Annotated[int, typer.Option(min=0, help="The first of them.")]
VolumesOption = Annotated[Path | None, typer.Option(help="Where sub-volumes are kept; OUTPUT/volumes if omitted.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Processes that generate sub-volumes.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the rows as JSON instead of a table.")]


@app.command()
def segmentation(
    overrides: OverridesArgument = None,
    *,
    output: OutputOption,
    init: InitOption,
    recipe: Annotated[str, typer.Option(help="organs-and-lesions, or small-segmentation.")] = "small-segmentation",
    fraction: FractionOption = None,
    encoder: EncoderOption = None,
    seeds: SeedsOption = 3,
    first_seed: FirstSeedOption = 0,
    resume: ResumeOption = False,
    settings: SettingsOption = None,
    volumes: VolumesOption = None,
    workers: WorkersOption = 1,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Train a U-Net decoder on encoders, and measure Dice and NSD of organs and lesions."""
    tell_start(output, "*/config.json", resume=resume)
    config = config_of(recipe, "segmentation", (*(settings or ()), *(overrides or ())))
    uses = [("train", use) for use in encoder or ["finetuned"]]
    seed_range = range(first_seed, first_seed + seeds)
    cells = list(cells_of(config, init, uses, fraction or [1.0], seed_range))
    run_cells(cells, output, volumes, workers=workers, device=device, as_json=json)


@app.command()
def classification(
    overrides: OverridesArgument = None,
    *,
    output: OutputOption,
    init: InitOption,
    recipe: Annotated[str, typer.Option(help="findings, or small-findings.")] = "small-findings",
    fraction: FractionOption = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="probe, frozen, slowed or finetuned; repeatable. probe and finetuned if omitted."),
    ] = None,
    seeds: SeedsOption = 3,
    first_seed: FirstSeedOption = 0,
    resume: ResumeOption = False,
    settings: SettingsOption = None,
    volumes: VolumesOption = None,
    workers: WorkersOption = 1,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Tell the 18 findings of sub-volumes, by a linear probe or by fine-tuning, and measure AUROC."""
    tell_start(output, "*/config.json", resume=resume)
    config = config_of(recipe, "classification", (*(settings or ()), *(overrides or ())))
    uses = [("probe", "frozen") if use == "probe" else ("train", use) for use in encoder or ["probe", "finetuned"]]
    seed_range = range(first_seed, first_seed + seeds)
    cells = list(cells_of(config, init, uses, fraction or [1.0], seed_range))
    run_cells(cells, output, volumes, workers=workers, device=device, as_json=json)


@app.command()
def table(
    folder: Annotated[Path, typer.Argument(help="Output folder of `segmentation` and `classification`.")],
    output: Annotated[Path | None, typer.Option(help="JSON file for rows and experiments.")] = None,
    order: Annotated[list[str] | None, typer.Option(help="Labels in the order of their rows; repeatable.")] = None,
) -> None:
    """Print tables of the finished experiments of a folder: mean and spread over seeds."""
    from colipri_core.io.atomic import write_json
    from colipri_training.transfer.tables import markdown
    from colipri_training.transfer.tables import read_results
    from colipri_training.transfer.tables import summary

    results = read_results(folder)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(output, {"rows": summary(results), "experiments": results})
    typer.echo(markdown(results, order=order or ()))


def config_of(recipe: str, task: Task, settings: Sequence[str]) -> TransferConfig:
    """The config of a downstream recipe with some of its fields set otherwise.

    Raises:
        ValueError: If there is no such recipe or field, or an option of the command decides the field.
    """
    from colipri_training.transfer.recipes import recipe as make

    for setting in settings:
        name = setting.partition("=")[0].strip()
        if name in _OPTIONS:
            msg = f'Expected {name} as an option, got the setting "{setting}". Use {_OPTIONS[name]}.'
            raise ValueError(msg)
    return make(recipe, task).changed(settings)


def cells_of(
    config: TransferConfig,
    inits: Sequence[str],
    uses: Sequence[tuple[str, str]],
    fractions: Sequence[float],
    seeds: Sequence[int],
) -> Iterator[Experiment]:
    """Every experiment of a table.

    Args:
        config: What they share.
        inits: Encoders, as LABEL=SOURCE or SOURCE.
        uses: Method and use of the encoder, such as ("probe", "frozen").
        fractions: Shares of the labelled cases.
        seeds: Seeds.
    """
    from colipri_training.evaluation.names import file_name
    from colipri_training.transfer.experiment import Experiment

    for fraction in fractions:
        for method, use in uses:
            for init in inits:
                label, equals, source = init.partition("=")
                name = file_name(label if equals else Path(init).name)
                for seed in seeds:
                    changes = [f"seed={seed}", f"fraction={fraction}", f'encoder="{use}"']
                    yield Experiment(
                        label=name,
                        source=source if equals else init,
                        config=config.changed(changes),
                        method="probe" if method == "probe" else "train",
                    )


def run_cells(
    cells: Sequence[Experiment], output: Path, place: Path | None, *, workers: int, device: str, as_json: bool
) -> None:
    """Generate what is missing, run every experiment, and print their table or rows."""
    import json

    from rich.console import Console
    from rich.progress import track

    from colipri_training.distributed import device_of
    from colipri_training.transfer.experiment import run_experiment
    from colipri_training.transfer.tables import markdown
    from colipri_training.transfer.tables import summary
    from colipri_training.transfer.volumes import SubVolumeStore

    where = str(device_of(device))
    stored = SubVolumeStore(place or output / "volumes", cells[0].config.volumes)
    made = stored.fill(workers=workers)
    console = Console(stderr=True)
    for _ in track(made, total=stored.missing(), description="sub-volumes", console=console):
        pass
    results: list[dict[str, Any]] = []
    for number, experiment in enumerate(cells, start=1):
        console.print(f"experiment {number} of {len(cells)}: {experiment.name}")
        results.append(run_experiment(experiment, stored, output, device=where))
    typer.echo(json.dumps(summary(results), indent=1) if as_json else markdown(results))
