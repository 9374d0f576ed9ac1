"""The official package's image transform, built from its own configuration file.

Only the configuration is read, so neither timm nor torchvision is imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def official_transform(**overrides: Any) -> Any:
    """Return the TorchIO transform of the installed `colipri`.

    Args:
        overrides: Top-level configuration values to change, such as `input_size=64` or `orientation="SAR"`.
    """
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    spec = importlib.util.find_spec("colipri")
    assert spec is not None
    assert spec.origin is not None
    configs = Path(spec.origin).parent / "configs"
    values = OmegaConf.load(configs / "config.yaml")
    values.pop("defaults")
    transform = OmegaConf.load(configs / "processor" / "image_transform" / "default.yaml")
    merged = OmegaConf.merge(values, overrides, {"transform": transform})
    return instantiate(merged).transform


def official_image(voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> Any:
    """A TorchIO image of voxels `[i, j, k]`."""
    import torch
    import torchio as tio

    return tio.ScalarImage(tensor=torch.from_numpy(np.ascontiguousarray(voxels))[None], affine=affine)


def run_official(transform: Any, voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> Any:
    """Apply the transform to voxels `[i, j, k]`; returns a TorchIO image."""
    return transform(official_image(voxels, affine))
