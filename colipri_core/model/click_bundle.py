"""Opening the bundle of an interactive segmenter: as strict as any, without a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from colipri_core.errors import BundleError
from colipri_core.errors import ModelUnavailableError
from colipri_core.model.bundle import read_any_spec
from colipri_core.model.bundle import resolve_folder
from colipri_core.model.bundle import shipped_bundles
from colipri_core.model.bundle import verify_files
from colipri_core.model.click_spec import CLICKS
from colipri_core.model.click_spec import ClickSpec
from colipri_core.model.spec import WEIGHTS_FILE
from colipri_core.model.weights import load_strictly
from colipri_core.model.weights import read_weights
from colipri_core.model.weights import unpack
from colipri_core.provenance import ModelCard

if TYPE_CHECKING:
    from colipri_core.model.click_network import ClickNetwork


@dataclass(frozen=True, kw_only=True, eq=False)
class ClickBundle:
    """A loaded interactive segmenter.

    Attributes:
        spec: What it is and how it is used.
        network: The network, in evaluation mode.
        sha256: Hash of the weights file.
    """

    spec: ClickSpec
    network: ClickNetwork
    sha256: str

    @property
    def card(self) -> ModelCard:
        """The identity shown beside every result."""
        return self.spec.card(self.sha256)


def find_click_bundle(source: str | Path) -> tuple[Path, ClickSpec]:
    """Return folder and document of a bundle of kind "clicks"; its weights are not looked at.

    Args:
        source: Bundle folder, or name of a shipped bundle.

    Raises:
        ModelUnavailableError: If there is no such bundle.
        BundleError: If its document is wrong, or it is of another kind.
    """
    shipped = shipped_bundles(CLICKS)
    folder = resolve_folder(source, shipped=shipped)
    if folder is None:
        msg = f"Expected a bundle folder or one of the shipped segmenters {shipped}, got the hub id {source}."
        raise ModelUnavailableError(msg)
    spec = read_any_spec(folder)
    if not isinstance(spec, ClickSpec):
        msg = f'Expected a bundle of kind "{CLICKS}" in {folder}, got one of kind "{spec.kind}". Open it as an engine.'
        raise BundleError(msg)
    return folder, spec


def load_click_bundle(source: str | Path, *, device: str | torch.device = "cpu") -> ClickBundle:
    """Open a bundle of kind "clicks".

    Args:
        source: Bundle folder, or name of a shipped bundle.
        device: Where the weights go.

    Raises:
        ModelUnavailableError: If there is no such bundle.
        BundleError: If spec, hash, key or shape does not fit, or the bundle is of another kind.
        UnsafeCheckpointError: If the weights are a pickle.
    """
    from colipri_core.model.click_network import ClickNetwork  # of MONAI's blocks, which take seconds to import

    folder, spec = find_click_bundle(source)
    verify_files(folder, spec.files, needed=(WEIGHTS_FILE,))
    network = ClickNetwork(spec.architecture).eval()
    weights = unpack(read_weights(folder / WEIGHTS_FILE), spec.storage, source=WEIGHTS_FILE)
    load_strictly(network, weights, source=WEIGHTS_FILE)
    network.to(device=torch.device(device), memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return ClickBundle(spec=spec, network=network, sha256=spec.files[WEIGHTS_FILE])
