"""The MONAI classes a bundle may name: networks and transforms, built from plain values."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai import transforms
from monai.data.meta_tensor import MetaTensor
from monai.networks import nets
from torch import nn

from colipri_core.errors import BundleError
from colipri_core.geometry import VolumeGeometry
from colipri_core.model.monai_config import MonaiConfig

NETWORKS = ("AttentionUnet", "BasicUNet", "DynUNet", "SegResNet", "SegResNetDS", "SwinUNETR", "UNETR", "UNet", "VNet")
"""Networks from volumes to logits that a bundle may name, of `monai.networks.nets`."""

TRANSFORMS = (
    "CropForegroundd",
    "DivisiblePadd",
    "NormalizeIntensityd",
    "Orientationd",
    "ScaleIntensityd",
    "ScaleIntensityRanged",
    "Spacingd",
    "SpatialPadd",
    "ThresholdIntensityd",
)
"""Transforms a bundle may name, of `monai.transforms`; each keeps the affine true."""

_GIVEN = ("CastToTyped", "EnsureChannelFirstd", "EnsureTyped", "LoadImaged")
"""What they do is done before the first of ours: a float32 volume with one channel and its affine."""

_IMAGE = "image"

Preprocessing = Callable[[npt.NDArray[np.float32], npt.NDArray[np.float64]], tuple[torch.Tensor, VolumeGeometry]]
"""From voxels `[i, j, k]` in HU and their affine to the network's input (1, 1, X, Y, Z) and its grid."""


def build_network(config: MonaiConfig) -> nn.Module:
    """Build the network of a configuration with random weights.

    Args:
        config: Its `network_def` names one of `NETWORKS` and plain arguments.

    Raises:
        BundleError: If it names another class, or arguments that class does not take.
    """
    values = config.value("network_def")
    name = _class_name(values, NETWORKS, "monai.networks.nets", "network_def")
    try:
        network: nn.Module = getattr(nets, name)(**_arguments(values))
    except (TypeError, ValueError, RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        msg = f"Expected sizes that MONAI's {name} takes in network_def, found others: {error}."
        raise BundleError(msg) from error
    return network


def build_preprocessing(config: MonaiConfig) -> Preprocessing:
    """Build the preprocessing of a configuration.

    Args:
        config: The transforms of its `preprocessing` are of `TRANSFORMS` with plain arguments.

    Raises:
        BundleError: If it names another class, or arguments that class does not take.
    """
    steps = [
        built
        for number in range(len(config.raw("preprocessing#transforms")))
        if (built := _transform(config, f"preprocessing#transforms#{number}")) is not None
    ]

    def prepare(
        voxels: npt.NDArray[np.float32], affine: npt.NDArray[np.float64]
    ) -> tuple[torch.Tensor, VolumeGeometry]:
        data = {_IMAGE: MetaTensor(torch.from_numpy(voxels)[None], affine=torch.from_numpy(np.array(affine)))}
        for step in steps:
            data = step(data)
        image = data[_IMAGE]
        i, j, k = (int(size) for size in image.shape[1:])
        grid = VolumeGeometry(shape=(i, j, k), affine=np.asarray(image.affine, dtype=np.float64))
        return image.as_tensor()[None].float(), grid

    return prepare


def _transform(config: MonaiConfig, path: str) -> Callable[[Any], Any] | None:
    target = str(config.raw(path).get("_target_", "")).rpartition(".")[2]
    if target in _GIVEN or config.raw(path).get("_disabled_") is True:
        return None
    values = config.value(path)
    name = _class_name(values, TRANSFORMS, "monai.transforms", path)
    try:
        built: Callable[[Any], Any] = getattr(transforms, name)(**{**_arguments(values), "keys": [_IMAGE]})
    except (TypeError, ValueError) as error:
        msg = f"Expected arguments that MONAI's {name} takes at {path}, found others: {error}."
        raise BundleError(msg) from error
    return built


def _class_name(values: Any, known: tuple[str, ...], package: str, path: str) -> str:
    target = str(values.get("_target_", "")) if isinstance(values, Mapping) else ""
    prefix, _, name = target.rpartition(".")
    if name not in known or not (prefix in ("", package) or prefix.startswith(f"{package}.")):
        msg = (
            f'Expected one of {", ".join(known)} of {package} at {path}, found "{target}". '
            "Classes that are not on this list are not run."
        )
        raise BundleError(msg)
    return name


def _arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {name: value for name, value in values.items() if not name.startswith("_")}
    if _names_a_class(arguments):
        msg = f"Expected plain values as arguments of {values['_target_']}, found a class to be made."
        raise BundleError(msg)
    return arguments


def _names_a_class(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(_names_a_class, value.values()))
    return isinstance(value, list) and any(map(_names_a_class, value))
