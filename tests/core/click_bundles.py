"""Interactive segmenters for tests: random weights, and one that outlines what is as bright as the click."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch import nn

from colipri_core.model.click_bundle import ClickBundle
from colipri_core.model.click_config import ClickNetworkConfig
from colipri_core.model.click_network import ClickNetwork
from colipri_core.model.click_network import reference_hu
from colipri_core.model.click_spec import ClickSpec
from colipri_core.model.export import save_click_bundle

SIZES = ClickNetworkConfig(channels=4, levels=1, widest=8)


def spec(name: str = "random", *, region: int = 32) -> ClickSpec:
    """A document of small sizes."""
    return ClickSpec(
        name=name,
        description="Random weights for tests.",
        architecture=SIZES,
        region=region,
        licence="Apache-2.0",
        training_data="None, the weights are random.",
        synthetic=True,
    )


def random_network(seed: int = 0) -> ClickNetwork:
    """A network of random weights, in evaluation mode."""
    torch.manual_seed(seed)
    return ClickNetwork(SIZES).eval()


def save_random_clicks(folder: Path, *, seed: int = 0) -> Path:
    """Write a bundle of random weights and return its folder."""
    save_click_bundle(folder, spec=spec(folder.name), network=random_network(seed))
    return folder


class SameBrightness(nn.Module):
    """Takes for the object what is within 100 HU of what was pointed at, save for what a negative prompt covers.

    Attributes:
        looks: How often it was asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def forward(self, hu_B1XYZ: Tensor, hints_BHXYZ: Tensor) -> Tensor:
        """Logits as `ClickNetwork` gives them."""
        self.looks += 1
        distance = (hu_B1XYZ - reference_hu(hu_B1XYZ, hints_BHXYZ)[:, None, None, None, None]).abs()
        logits = (100 - distance) / 10
        return torch.where(hints_BHXYZ[:, 2:3] > 0.01, -10.0, logits)


def brightness_bundle(*, region: int = 64) -> ClickBundle:
    """A loaded bundle whose network is `SameBrightness`."""
    return ClickBundle(spec=spec("brightness", region=region), network=SameBrightness(), sha256="0" * 64)  # type: ignore[arg-type]
