"""A MONAI network over a whole volume: the bundle's preprocessing, MONAI's sliding windows, class probabilities."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
import math
import platform
from collections.abc import Callable

import numpy as np
import torch
from monai.inferers.inferer import SlidingWindowInferer

from colipri_core.errors import BundleError
from colipri_core.geometry import VolumeGeometry
from colipri_core.inference.devices import is_out_of_memory
from colipri_core.inference.structures import Probabilities
from colipri_core.model.monai_bundle import MonaiBundle
from colipri_core.progress import Reporter
from colipri_core.volume import Volume

logger = logging.getLogger(__name__)

_PACKAGES = ("napari-colipri", "torch", "monai", "numpy")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Outlined:
    """What the network says of a volume.

    Args:
        probabilities: (K, X, Y, Z), summing to 1 over K; class 0 is background.
        grid: Where they lie.
    """

    probabilities: Probabilities
    grid: VolumeGeometry


class WindowRunner:
    """A loaded bundle on its device; to be used on the model's thread alone.

    Args:
        bundle: The bundle; its network is moved.
        device: Where it runs.

    Attributes:
        bundle: As given.
        device: Where it runs now; the CPU after a GPU ran out of memory.
        notices: What a reader of the results must know of how they are computed.
    """

    def __init__(self, bundle: MonaiBundle, device: torch.device) -> None:
        self.bundle = bundle
        self.device = device
        self.notices: list[str] = []
        bundle.network.to(device)

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what computes."""
        return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in _PACKAGES}}

    def outline(self, volume: Volume, report: Reporter) -> Outlined:
        """Return the probabilities of all classes on the bundle's own grid.

        Args:
            volume: The CT.
            report: Told of each window, and asked whether to go on.

        Raises:
            BundleError: If the network has other channels than the bundle says.
            Cancelled: If the work was cancelled.
        """
        report(0.0, "Preparing the volume")
        voxels = np.ascontiguousarray(volume.voxels, dtype=np.float32)
        image, grid = self.bundle.preprocessing(np.nan_to_num(voxels, nan=float(np.nanmin(voxels))), volume.affine)
        try:
            logits = self._windows(image, report)
        except RuntimeError as error:
            if self.device.type == "cpu" or not is_out_of_memory(error):
                raise
            self._to_cpu()
            logits = self._windows(image, report)
        if self.bundle.exclusive:
            probabilities = logits.softmax(dim=0)
        else:
            # Each stands alone: the background is what none claims, so that a class wins from one half on.
            each = logits.sigmoid()
            probabilities = torch.cat([1 - each.amax(dim=0, keepdim=True), each])
            probabilities /= probabilities.sum(dim=0, keepdim=True)
        return Outlined(probabilities=np.asarray(probabilities.numpy(), dtype=np.float32), grid=grid)

    def _windows(self, image: torch.Tensor, report: Reporter) -> torch.Tensor:
        windows = self.bundle.windows
        inferer = SlidingWindowInferer(
            roi_size=windows.roi_size,
            sw_batch_size=windows.batch_size,
            overlap=windows.overlap,
            mode=windows.mode,
            sw_device=self.device,
            device=torch.device("cpu"),
        )
        total = math.prod(
            max(1, math.ceil((size - roi) / max(1, int(roi * (1 - windows.overlap)))) + 1)
            for size, roi in zip(image.shape[2:], windows.roi_size, strict=True)
        )
        with torch.inference_mode():
            logits = inferer(image, self._counted(report, total))
        result: torch.Tensor = logits[0].float()
        return result

    def _counted(self, report: Reporter, total: int) -> Callable[[torch.Tensor], torch.Tensor]:
        """The network, which says before each window how far it is."""
        done = 0

        def ask(window: torch.Tensor) -> torch.Tensor:
            nonlocal done
            report(min(done / total, 1.0), "Outlining structures")
            done += len(window)
            answer = self.bundle.network(window)
            logits: torch.Tensor = answer[0] if isinstance(answer, list | tuple) else answer
            if logits.shape[1] != self.bundle.channels:
                msg = (
                    f"Expected {self.bundle.channels} channels, as channel_def of the MONAI bundle has them, found "
                    f"{logits.shape[1]} in the network's answer. Set channel_def right."
                )
                raise BundleError(msg)
            return logits

        return ask

    def _to_cpu(self) -> None:
        notice = (
            f"The GPU {self.device} ran out of memory. The same model now runs on the CPU: the results are the same."
        )
        logger.warning(notice)
        self.notices.append(notice)
        self.device = torch.device("cpu")
        self.bundle.network.to(self.device)
