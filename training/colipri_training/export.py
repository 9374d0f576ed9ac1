"""Exporting a run as a bundle that every viewer opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from colipri_core.model.colipri import ColipriModel
from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.dense_bundle import save_dense_bundle
from colipri_core.model.dense_model import DenseModel
from colipri_core.model.dense_spec import DenseSpec
from colipri_core.model.export import save_bundle
from colipri_core.model.spec import STORAGES
from colipri_core.model.spec import BundleSpec
from colipri_core.model.spec import StructureSpec
from colipri_core.model.spec import TextSpec
from colipri_core.model.structure_head import StructureHead
from colipri_core.model.tokenizer import load_tokenizer
from colipri_training.config import PretrainConfig
from colipri_training.phantoms.dataset import is_name
from colipri_training.run import Run
from colipri_training.start import read_start
from colipri_training.t3d.config import T3DConfig

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
) -> BundleSpec | DenseSpec:
    """Write the run's averaged encoder, its text encoder, its structure head and its report decoder as a bundle.

    Of a T3D run, the image encoder and the structure head: it has no space that texts share.

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
    head = _structure_head(run)
    known = {
        "name": name or config.name,
        "preprocessing": config.preprocessing,
        "structures": StructureSpec(names=head.config.structures, config=head.config.to_json()) if head else None,
        "licence": licence or _PHANTOM_LICENCE,
        "training_data": _training_data(run),
        "synthetic": synthetic,
        "storage": STORAGES[half],
    }
    if isinstance(config, T3DConfig):
        return _export_dense(run, config, folder, head=head, known=known, overwrite=overwrite)
    assert isinstance(config, PretrainConfig)
    decoder = run.report_decoder()
    parts = ["structure head"] * (head is not None) + ["report decoder"] * (decoder is not None)
    spec = BundleSpec(
        description=f"COLIPRI encoders of the recipe {config.name}"
        + "".join(f", with a {part}" for part in parts)
        + ".",
        architecture=config.model,
        text=TextSpec(max_length=config.model.text.max_length),
        vocabulary="ct-rate-18",
        report=decoder.config.to_json() if decoder else None,
        **known,
    )
    model = run.pretrained()
    assert isinstance(model, ColipriModel)
    return save_bundle(
        folder,
        spec=spec,
        model=model,
        tokenizer=load_tokenizer(run.folder / "tokenizer"),
        structure_head=head,
        report_decoder=decoder,
        overwrite=overwrite,
    )


def _export_dense(
    run: Run, config: T3DConfig, folder: Path, *, head: StructureHead | None, known: dict[str, Any], overwrite: bool
) -> DenseSpec:
    """Rotary positions beyond a sub-volume were never trained, so Primus encodes windows of its size."""
    is_local = isinstance(config.encoder, ImageEncoderConfig)
    told = "informed by reports" if config.conditioning == "report" else "without reports"
    spec = DenseSpec(
        description=f"T3D image encoder of the recipe {config.name}, pretrained on sub-volumes {told}"
        + (", with a structure head." if head else "."),
        architecture=config.encoder,
        window=min(config.data.crop) if is_local else None,
        **known,
    )
    model = run.pretrained()
    assert isinstance(model, DenseModel)
    return save_dense_bundle(folder, spec=spec, model=model, structure_head=head, overwrite=overwrite)


def _structure_head(run: Run) -> StructureHead | None:
    if not (run.folder / "structures.pt").is_file():
        return None
    return run.structure_trainer().head.eval()


def _is_synthetic(run: Run) -> bool:
    start = read_start(run.folder)
    return all(map(is_name, _seen(run))) and (start is None or start.synthetic)


def _seen(run: Run) -> list[str]:
    """Names of the volumes of the training split of prepared data sets; a run's own phantoms are not among them."""
    return [volume.id for source in run.sources for volume in source.volumes if volume.split == "train"]


def _training_data(run: Run) -> str:
    """One line on what the weights have seen."""
    own = 0 if run.config.data.sources or not isinstance(run.config, PretrainConfig) else run.config.data.train_cases
    names = _seen(run)
    if all(map(is_name, names)):
        seen = _PHANTOMS.format(cases=own + len(names))
    else:
        sources = ", ".join(Path(source).name for source in run.config.data.sources)
        reports = len([v for source in run.sources for v in source.volumes if v.split == "train" and v.report])
        seen = f"{len(names)} chest CT volumes, {reports} of them with reports ({sources})."
    start = read_start(run.folder)
    if start is None:
        return seen
    place = Path(start.source)
    return f"{seen} Started from {place.name if place.is_absolute() else start.source}."  # paths are nobody's business
