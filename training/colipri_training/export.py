"""Exporting a run as a bundle that every viewer opens."""

from __future__ import annotations

from pathlib import Path

from colipri_core.model.export import save_bundle
from colipri_core.model.spec import BundleSpec
from colipri_core.model.spec import StructureSpec
from colipri_core.model.spec import TextSpec
from colipri_core.model.tokenizer import load_tokenizer
from colipri_training.run import Run

_TRAINING_DATA = "{cases} generated chest CT phantoms with generated reports, no patient data."


def export(run: Run, folder: Path, *, overwrite: bool = False) -> BundleSpec:
    """Write the run's averaged encoder, its text encoder, its structure head and its report decoder as a bundle.

    Args:
        run: A run whose pretraining has a checkpoint.
        folder: Where the bundle goes.
        overwrite: Replace a bundle that is there.

    Returns:
        The spec as written.
    """
    config = run.config
    head = None
    if (run.folder / "structures.pt").is_file():
        head = run.structure_trainer().head.eval()
    decoder = run.report_decoder()
    spec = BundleSpec(
        name=config.name,
        description="A small COLIPRI encoder with a structure head, for closed machines, teaching and tests.",
        architecture=config.model,
        preprocessing=config.preprocessing,
        text=TextSpec(max_length=config.model.text.max_length),
        vocabulary="ct-rate-18",
        structures=StructureSpec(names=head.config.structures, config=head.config.to_json()) if head else None,
        report=decoder.config.to_json() if decoder else None,
        licence="Apache-2.0",
        training_data=_TRAINING_DATA.format(cases=config.data.train_cases),
        synthetic=True,
    )
    return save_bundle(
        folder,
        spec=spec,
        model=run.pretrained(),
        tokenizer=load_tokenizer(run.folder / "tokenizer"),
        structure_head=head,
        report_decoder=decoder,
        overwrite=overwrite,
    )
