"""Dense encoders from bundles of any kind that has one, and into bundles of kind "dense"."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from colipri_core.model.bundle import load_bundle
from colipri_core.model.bundle import read_any_spec
from colipri_core.model.bundle import resolve_folder
from colipri_core.model.bundle import shipped_bundles
from colipri_core.model.dense_bundle import load_dense_bundle
from colipri_core.model.dense_bundle import save_dense_bundle
from colipri_core.model.dense_encoder import AnyEncoder
from colipri_core.model.dense_encoder import PrimusEncoder
from colipri_core.model.dense_model import DenseModel
from colipri_core.model.dense_spec import DenseSpec
from colipri_core.model.spec import BundleSpec
from colipri_core.model.structure_head import StructureHead


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LoadedEncoder:
    """An encoder from a bundle.

    Args:
        encoder: In evaluation mode, on the CPU; its weights are trainable.
        spec: What the bundle says: model grid, licence, training data.
        sha256: Hash of the bundle's weights.
    """

    encoder: AnyEncoder
    spec: BundleSpec | DenseSpec
    sha256: str


def load_encoder(source: str | Path) -> LoadedEncoder:
    """Load the image encoder of a bundle, strictly.

    Args:
        source: Folder, name of a shipped bundle, or hub id; of kind "colipri" or "dense".

    Raises:
        ModelUnavailableError: If it is not there, or cannot be fetched.
        BundleError: If it is damaged, or has no image encoder.
    """
    folder = resolve_folder(source, shipped=shipped_bundles(None))
    if folder is not None and isinstance(read_any_spec(folder), DenseSpec):
        dense = load_dense_bundle(folder)
        return LoadedEncoder(encoder=dense.model.encoder, spec=dense.spec, sha256=dense.sha256)
    bundle = load_bundle(source if folder is None else folder, lazy_head=True)
    encoder = PrimusEncoder(bundle.spec.architecture.image).eval()
    encoder.backbone.load_state_dict(bundle.model.image_encoder.backbone.state_dict())
    return LoadedEncoder(encoder=encoder, spec=bundle.spec, sha256=bundle.sha256)


def save_encoder(
    encoder: AnyEncoder,
    folder: Path,
    *,
    spec: DenseSpec,
    structure_head: StructureHead | None = None,
    overwrite: bool = False,
) -> DenseSpec:
    """Write an encoder as a bundle of kind "dense", which the viewers open for structures and similar cases.

    Args:
        encoder: The encoder.
        folder: Where the bundle goes.
        spec: The document; its architecture must be the encoder's.
        structure_head: Outlines structures on the encoder's deepest features, if the spec says so.
        overwrite: Replace a bundle that is there.

    Returns:
        The spec as written.

    Raises:
        ValueError: If encoder, head and spec do not belong together.
        FileExistsError: If the folder exists and `overwrite` is false.
    """
    model = DenseModel(encoder.config).eval()
    model.encoder.load_state_dict(encoder.state_dict())
    return save_dense_bundle(folder, spec=spec, model=model, structure_head=structure_head, overwrite=overwrite)
