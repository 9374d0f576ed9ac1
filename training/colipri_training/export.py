"""Exporting a run as a bundle that every viewer opens."""

from __future__ import annotations

from pathlib import Path

from colipri_core.model.export import save_bundle
from colipri_core.model.spec import STORAGES
from colipri_core.model.spec import BundleSpec
from colipri_core.model.spec import StructureSpec
from colipri_core.model.spec import TextSpec
from colipri_core.model.structure_head import StructureHead
from colipri_core.model.tokenizer import load_tokenizer
from colipri_training.run import Run
from colipri_training.start import read_start

_PHANTOMS = "{cases} generated chest CT phantoms with generated reports, no patient data."
_PHANTOM_LICENCE = "Apache-2.0"


def export(
    run: Run,
    folder: Path,
    *,
    overwrite: bool = False,
    name: str | None = None,
    licence: str | None = None,
    half: bool = False,
) -> BundleSpec:
    """Write the run's averaged encoder, its text encoder, its structure head and its report decoder as a bundle.

    Args:
        run: A run whose pretraining has a checkpoint.
        folder: Where the bundle goes.
        overwrite: Replace a bundle that is there.
        name: Name of the bundle; None takes the run's.
        licence: Licence of the weights; None takes the repository's, for models that saw nothing but phantoms.
        half: Store the weights as float16.

    Returns:
        The spec as written.

    Raises:
        CheckpointError: If the run has no checkpoint.
        ValueError: If the model saw more than phantoms and no licence is given.
    """
    config, synthetic = run.config, _is_synthetic(run)
    if licence is None and not synthetic:
        msg = "Name the licence of the weights (--licence): that of the data sets may bind them, as CT-RATE's does."
        raise ValueError(msg)
    model, decoder, head = run.pretrained(), run.report_decoder(), _structure_head(run)
    parts = ["structure head"] * (head is not None) + ["report decoder"] * (decoder is not None)
    spec = BundleSpec(
        name=name or config.name,
        description=f"COLIPRI encoders of the recipe {config.name}"
        + "".join(f", with a {part}" for part in parts)
        + ".",
        architecture=config.model,
        preprocessing=config.preprocessing,
        text=TextSpec(max_length=config.model.text.max_length),
        vocabulary="ct-rate-18",
        structures=StructureSpec(names=head.config.structures, config=head.config.to_json()) if head else None,
        report=decoder.config.to_json() if decoder else None,
        licence=licence or _PHANTOM_LICENCE,
        training_data=_training_data(run),
        synthetic=synthetic,
        storage=STORAGES[half],
    )
    return save_bundle(
        folder,
        spec=spec,
        model=model,
        tokenizer=load_tokenizer(run.folder / "tokenizer"),
        structure_head=head,
        report_decoder=decoder,
        overwrite=overwrite,
    )


def _structure_head(run: Run) -> StructureHead | None:
    if not (run.folder / "structures.pt").is_file():
        return None
    return run.structure_trainer().head.eval()


def _is_synthetic(run: Run) -> bool:
    start = read_start(run.folder)
    return not run.config.data.sources and (start is None or start.synthetic)


def _training_data(run: Run) -> str:
    """One line on what the weights have seen."""
    seen = _PHANTOMS.format(cases=run.config.data.train_cases)
    if run.config.data.sources:
        names = ", ".join(Path(source).name for source in run.config.data.sources)
        volumes = [volume for source in run.sources for volume in source.volumes if volume.split == "train"]
        reports = sum(volume.report is not None for volume in volumes)
        seen = f"{len(volumes)} chest CT volumes, {reports} of them with reports ({names})."
    start = read_start(run.folder)
    return seen if start is None else f"{seen} Started from {start.source}."
