"""Bundles of kind "dense": an image encoder without a text side, as strict as any, without a tokenizer.

The weights of the encoder stand under `encoder.`, those of the structure head, if there is one, under
`structure_head.`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import nn

from colipri_core.errors import BundleError
from colipri_core.errors import ModelUnavailableError
from colipri_core.model.bundle import build_structure_head
from colipri_core.model.bundle import read_any_spec
from colipri_core.model.bundle import resolve_folder
from colipri_core.model.bundle import shipped_bundles
from colipri_core.model.bundle import verify_files
from colipri_core.model.dense_model import DenseModel
from colipri_core.model.dense_spec import DENSE
from colipri_core.model.dense_spec import DenseSpec
from colipri_core.model.export import tensors_of
from colipri_core.model.export import write_folder
from colipri_core.model.spec import HEAD_PREFIX
from colipri_core.model.spec import WEIGHTS_FILE
from colipri_core.model.weights import file_sha256
from colipri_core.model.weights import load_strictly
from colipri_core.model.weights import pack
from colipri_core.model.weights import read_weights
from colipri_core.model.weights import unpack
from colipri_core.progress import Reporter
from colipri_core.provenance import ModelCard

if TYPE_CHECKING:
    from colipri_core.model.structure_head import StructureHead


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseBundle:
    """A loaded dense encoder with everything needed to use it.

    Attributes:
        spec: What it is and how a CT is brought to it.
        model: The encoder, in evaluation mode.
        sha256: Hash of the weights file.
        build_head: Makes the structure head; None if the bundle has none.
    """

    spec: DenseSpec
    model: DenseModel
    sha256: str
    build_head: Callable[[], StructureHead] | None = None

    @functools.cached_property
    def structure_head(self) -> StructureHead | None:
        """Outlines structures, if the bundle has one; built at the first look, for it imports MONAI's blocks.

        Raises:
            BundleError: If its weights or sizes do not fit.
        """
        return None if self.build_head is None else self.build_head()

    @property
    def card(self) -> ModelCard:
        """The identity shown beside every result."""
        return self.spec.card(self.sha256)


def load_dense_bundle(
    source: str | Path, *, device: str | torch.device = "cpu", report: Reporter | None = None
) -> DenseBundle:
    """Open a bundle of kind "dense".

    Args:
        source: Bundle folder, or name of a shipped bundle.
        device: Where the encoder goes; the structure head is built on the CPU.
        report: Told of the progress.

    Raises:
        ModelUnavailableError: If there is no such bundle.
        BundleError: If spec, hash, key or shape does not fit, or the bundle is of another kind.
        UnsafeCheckpointError: If the weights are a pickle.
        Cancelled: If the reporter's cancel token is set.
    """
    told = report or Reporter(None, None)
    shipped = shipped_bundles(DENSE)
    folder = resolve_folder(source, shipped=shipped)
    if folder is None:
        msg = f"Expected a bundle folder or one of the shipped dense encoders {shipped}, got the hub id {source}."
        raise ModelUnavailableError(msg)
    told(0.0, f"Reading {folder.name}")
    spec = read_any_spec(folder)
    if not isinstance(spec, DenseSpec):
        msg = f'Expected a bundle of kind "{DENSE}" in {folder}, got one of kind "{spec.kind}".'
        raise BundleError(msg)
    verify_files(folder, spec.files, needed=(WEIGHTS_FILE,))
    told(0.3, f"Loading {spec.name}")
    weights = unpack(read_weights(folder / WEIGHTS_FILE), spec.storage, source=WEIGHTS_FILE)
    names = [name for name in weights if spec.structures is not None and name.startswith(HEAD_PREFIX)]
    of_head = {name.removeprefix(HEAD_PREFIX): weights.pop(name) for name in names}
    model = DenseModel(spec.architecture).eval()
    load_strictly(model, weights, source=WEIGHTS_FILE)
    build = None if spec.structures is None else functools.partial(build_structure_head, spec.structures, of_head)
    told(1.0, f"{spec.name} is loaded")
    return DenseBundle(spec=spec, model=model.to(device), sha256=spec.files[WEIGHTS_FILE], build_head=build)


def save_dense_bundle(
    folder: Path,
    *,
    spec: DenseSpec,
    model: DenseModel,
    structure_head: nn.Module | None = None,
    overwrite: bool = False,
) -> DenseSpec:
    """Write a bundle of a dense encoder, atomically as `save_bundle`.

    Args:
        folder: Where the bundle goes; its parent is created.
        spec: The document; its `files` are filled in here.
        model: The encoder. Its sizes must be the spec's.
        structure_head: Present exactly if the spec has structures.
        overwrite: Replace a bundle that is there.

    Returns:
        The spec as written, with the hash of the weights.

    Raises:
        ValueError: If model, head and spec do not belong together.
        FileExistsError: If the folder exists and `overwrite` is false.
        OSError: If the disk is full or not writable; nothing is changed then.
    """
    if spec.architecture != model.config or (spec.structures is None) != (structure_head is None):
        msg = "spec and modules must belong together: same architecture, and structures exactly if there is a head"
        raise ValueError(msg)

    def write(fresh: Path) -> DenseSpec:
        parts = {"": model, HEAD_PREFIX: structure_head}
        save_file(pack(tensors_of(parts), spec.storage), fresh / WEIGHTS_FILE, metadata={"format": "pt"})
        return dataclasses.replace(spec, files={WEIGHTS_FILE: file_sha256(fresh / WEIGHTS_FILE)})

    return write_folder(folder, write, overwrite=overwrite)
