"""MONAI bundles (Model Zoo format) as structure models: `configs/`, `models/`, and nothing of them is run.

The network is one of a list of MONAI's own classes, built with plain values; preprocessing is put together from a list
of MONAI's own transforms. A `_target_` that is on neither list, an expression that would have to be evaluated, or a
TorchScript archive, whose code cannot be checked, is refused. Weights are safetensors, or the `.pt` of the Model Zoo
read with `torch.load(weights_only=True)`, which restores tensors and plain containers alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import nn

from colipri_core.errors import BundleError
from colipri_core.errors import UnsafeCheckpointError
from colipri_core.model.monai_config import MonaiConfig
from colipri_core.model.monai_parts import Preprocessing
from colipri_core.model.monai_parts import build_network
from colipri_core.model.monai_parts import build_preprocessing
from colipri_core.model.weights import file_sha256
from colipri_core.model.weights import load_strictly
from colipri_core.model.weights import read_weights
from colipri_core.provenance import ModelCard
from colipri_core.vocabulary.structures import StructureConcept
from colipri_core.vocabulary.structures import concept

METADATA = "configs/metadata.json"
INFERENCE = "configs/inference.json"
MONAI = "monai"
"""Kind on the card of such a model."""

_WRAPPERS = ("model", "state_dict", "network", "net")


@dataclass(frozen=True, kw_only=True)
class SlidingWindow:
    """How a volume is covered with windows.

    Attributes:
        roi_size: Edges of a window in voxels of the model grid.
        overlap: Share of a window that its neighbour covers as well.
        mode: How overlapping windows are blended: "constant" or "gaussian".
        batch_size: Windows of a pass.
    """

    roi_size: tuple[int, int, int]
    overlap: float = 0.25
    mode: str = "constant"
    batch_size: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class MonaiBundle:
    """A loaded MONAI bundle.

    Attributes:
        card: Identity, shown beside every result.
        network: In evaluation mode.
        structures: What it outlines, in the order of its channels, the background left out.
        preprocessing: From voxels and affine to the model grid.
        windows: How the model grid is covered.
        exclusive: Whether channels compete (softmax, channel 0 is the background) or stand alone (sigmoid).
    """

    card: ModelCard
    network: nn.Module
    structures: tuple[StructureConcept, ...]
    preprocessing: Preprocessing
    windows: SlidingWindow
    exclusive: bool

    @property
    def channels(self) -> int:
        """Channels the network must have."""
        return len(self.structures) + self.exclusive


def is_monai_bundle(folder: Path) -> bool:
    """Whether a folder is laid out as a MONAI bundle."""
    return (folder / METADATA).is_file()


def load_monai_bundle(folder: Path) -> MonaiBundle:
    """Open a MONAI bundle onto the CPU.

    Args:
        folder: The bundle.

    Raises:
        BundleError: If a part is missing, is none this version knows, or does not fit; the message names it.
        UnsafeCheckpointError: If the weights are TorchScript, or a pickle of more than tensors.
    """
    metadata = _read(folder / METADATA)
    config = MonaiConfig(_read(folder / INFERENCE), source=INFERENCE)
    image = _one_of(metadata, "inputs", "image")
    if image.get("num_channels", 1) != 1 or str(image.get("modality", "CT")).upper() not in ("CT", "N/A"):
        found = f"{image.get('num_channels')} channels of {image.get('modality')}"
        msg = f"Expected a model for one channel of CT in {METADATA}, found {found}. This package reads CT alone."
        raise BundleError(msg)
    exclusive = _is_exclusive(config)
    network = build_network(config)
    path = _weights_path(folder, config)
    load_strictly(network, _weights(path), source=path.name)
    return MonaiBundle(
        card=_card(folder, metadata, path),
        network=network.eval().requires_grad_(False),
        structures=_structures(metadata, exclusive=exclusive),
        preprocessing=build_preprocessing(config),
        windows=_windows(config),
        exclusive=exclusive,
    )


def _read(path: Path) -> dict[str, Any]:
    name = f"{path.parent.name}/{path.name}"
    if not path.is_file():
        msg = f"Expected {name} in the MONAI bundle {path.parents[1].name}, found none. JSON is read, YAML is not."
        raise BundleError(msg)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"Expected JSON in {name} of the MONAI bundle, found something else ({error}). Fetch it again."
        raise BundleError(msg) from error
    if not isinstance(document, dict):
        msg = f"Expected an object in {name} of the MONAI bundle, found a {type(document).__name__}."
        raise BundleError(msg)
    return document


def _one_of(metadata: Mapping[str, Any], side: str, name: str) -> Mapping[str, Any]:
    """The description of the network's one input or output."""
    try:
        found = metadata["network_data_format"][side][name]
        if isinstance(found, Mapping):
            return found
    except (KeyError, TypeError):
        pass
    msg = f'Expected network_data_format.{side}.{name} in {METADATA}, found none. Only bundles with "{name}" are read.'
    raise BundleError(msg)


def _structures(metadata: Mapping[str, Any], *, exclusive: bool) -> tuple[StructureConcept, ...]:
    channels = _one_of(metadata, "outputs", "pred").get("channel_def")
    try:
        names = [str(channels[str(number)]) for number in range(len(channels))]  # type: ignore[index,arg-type]
    except (KeyError, TypeError) as error:
        msg = f"Expected channel_def 0, 1, ... of the output in {METADATA}, found {channels!r}."
        raise BundleError(msg) from error
    names = names[exclusive:]
    if not names or len(names) > 255 or len({name.lower() for name in names}) < len(names):
        msg = f"Expected 1 to 255 different structures in channel_def of {METADATA}, found {names}."
        raise BundleError(msg)
    readable = [name.strip().replace("_", " ") for name in names]
    return tuple(concept(name[:1].upper() + name[1:], number=number) for number, name in enumerate(readable))


def _is_exclusive(config: MonaiConfig) -> bool:
    """Whether the postprocessing is a softmax over the channels, rather than a sigmoid of each at one half."""
    steps = config.raw("postprocessing#transforms") if "postprocessing#transforms" in config else []
    for step in steps:
        target = str(step.get("_target_", "")).rpartition(".")[2]
        threshold = step.get("threshold")
        if target == "AsDiscreted" and threshold not in (None, True, 0.5):
            msg = f"Expected a threshold of 0.5 in the postprocessing of {INFERENCE}, found {threshold}."
            raise BundleError(msg)
        if target == "Activationsd" and step.get("sigmoid") is True:
            return False
    return True


def _windows(config: MonaiConfig) -> SlidingWindow:
    target = str(config.raw("inferer#_target_")).rpartition(".")[2]
    if target != "SlidingWindowInferer":
        msg = f'Expected the inferer "SlidingWindowInferer" in {INFERENCE}, found "{target}".'
        raise BundleError(msg)
    values = {name: config.value(f"inferer#{name}") for name in ("overlap", "mode") if f"inferer#{name}" in config}
    try:
        x, y, z = (int(size) for size in config.value("inferer#roi_size"))
        window = SlidingWindow(roi_size=(x, y, z), **values)
        if min(x, y, z) < 1 or not 0 <= float(window.overlap) < 1 or window.mode not in ("constant", "gaussian"):
            raise ValueError(window)
    except (TypeError, ValueError) as error:
        msg = f"Expected roi_size of three edges, overlap below 1 and a known mode in {INFERENCE}, found {error}."
        raise BundleError(msg) from error
    return window


def _weights_path(folder: Path, config: MonaiConfig) -> Path:
    """The weights: safetensors if there are any, else the file that the configuration loads, else `model.pt`."""
    models = folder / "models"
    safe = models / "model.safetensors"
    if safe.is_file():
        return safe
    name = "model.pt"
    if "checkpointloader#load_path" in config:
        name = Path(str(config.value("checkpointloader#load_path"))).name
    path = models / name
    if path.is_file():
        return path
    if (models / "model.ts").is_file():
        msg = (
            "Expected weights as tensors, found only the TorchScript archive models/model.ts, whose code would have "
            "to be run. Put model.pt or model.safetensors of the same bundle beside it."
        )
        raise UnsafeCheckpointError(msg)
    msg = f"Expected the weights models/{name} or models/model.safetensors in {folder.name}, found neither."
    raise BundleError(msg)


def _weights(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return read_weights(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        msg = (
            f"Expected tensors alone in models/{path.name}, found something else, which is not opened, because that "
            "could run code. Convert it to models/model.safetensors on a machine that trusts it."
        )
        raise UnsafeCheckpointError(msg) from error
    for wrapper in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        msg = f"Expected a state dictionary of tensors in models/{path.name}, found something else."
        raise BundleError(msg)
    return {str(name): value for name, value in found.items()}


def _card(folder: Path, metadata: Mapping[str, Any], weights: Path) -> ModelCard:
    licence = folder / "LICENSE"
    lines = licence.read_text(encoding="utf-8", errors="replace").split("\n") if licence.is_file() else []
    named = next((line.strip() for line in lines if line.strip()), "")
    data = str(metadata.get("data_source") or "not stated in the bundle").strip().rstrip(".")
    return ModelCard(
        name=str(metadata.get("name") or folder.name),
        sha256=file_sha256(weights),
        kind=MONAI,
        training_data=f"{data}.",
        synthetic=False,
        licence=named or "not stated in the bundle",
    )
