"""A bundle as evaluation uses it: volumes to patch grids, vectors, outlines and reports; float32, one at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from colipri_core.model.bundle import Bundle
from colipri_core.model.bundle import load_bundle
from colipri_core.model.report_generation import GenerationOptions
from colipri_core.model.report_generation import generate

TOKEN_EDGE = 12
"""Most patches along an axis of the token grid that attention probes see; larger grids are averaged (our choice)."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """What is kept of a volume.

    Args:
        joint: (E,) unit vector of the volume in the joint space.
        mean: (C,) mean of the raw tokens.
        maximum: (C,) maximum of the raw tokens.
        tokens: (n, C) float16, the raw tokens, averaged in cubes where the grid is larger than `TOKEN_EDGE`.
    """

    joint: Tensor
    mean: Tensor
    maximum: Tensor
    tokens: Tensor


class Encoder:
    """A loaded bundle on a device.

    Args:
        source: Shipped bundle's name, folder or hub id.
        device: "auto", "cpu", "cuda", ...

    Attributes:
        bundle: The bundle.
        device: Where it runs.
    """

    def __init__(self, source: str, *, device: str = "auto") -> None:
        name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self.device = torch.device(name)
        self.bundle: Bundle = load_bundle(source, device=self.device)
        self.bundle.model.eval().requires_grad_(False)

    @property
    def temperature(self) -> float:
        """What cosine similarities are divided by."""
        return float(self.bundle.model.softmax_temperature)

    def grid(self, image_XYZ: Tensor) -> Tensor:
        """Return the raw patch grid (1, C, x, y, z) of a volume on the model grid; on the device."""
        with torch.inference_mode():
            images = rearrange(image_XYZ, "x y z -> 1 1 x y z").to(self.device)
            return self.bundle.model.image_features(images, self.bundle.spec.window).float()

    def summarise(self, grid: Tensor) -> Encoded:
        """Return what is kept of a volume's raw patch grid."""
        with torch.inference_mode():
            tokens = rearrange(grid, "1 c x y z -> (x y z) c")
            return Encoded(
                joint=F.normalize(self.bundle.model.project_and_pool(grid), dim=1)[0].cpu(),
                mean=tokens.mean(dim=0).cpu(),
                maximum=tokens.amax(dim=0).cpu(),
                tokens=_thinned(grid).half().cpu(),
            )

    def maps(self, grid: Tensor, directions_FE: Tensor) -> npt.NDArray[np.float32]:
        """Return the evidence maps (F, x, y, z) of directions in the joint space, one value a patch."""
        with torch.inference_mode():
            dense = F.normalize(self.bundle.model.dense(grid), dim=1)[0]
            return torch.einsum("exyz,fe->fxyz", dense, directions_FE.to(dense)).cpu().numpy()

    def labelmap(self, image_XYZ: Tensor, grid: Tensor) -> Tensor:
        """Outline the structures of a volume: (X, Y, Z) int64, label n is the head's structure n - 1."""
        head = self.bundle.structure_head
        assert head is not None, "asked for only where the bundle has a structure head"
        with torch.inference_mode():
            images = rearrange(image_XYZ, "x y z -> 1 1 x y z").to(self.device)
            outlines: Tensor = head.eval().to(self.device)(images, grid).argmax(dim=1)[0].cpu()
        return outlines

    def write_report(self, grid: Tensor) -> str:
        """Write the report of a volume, greedily, from its raw patch grid."""
        decoder, tokenizer = self.bundle.report_decoder, self.bundle.tokenizer
        assert decoder is not None, "asked for only where the bundle has a report decoder"
        special = {"begin": tokenizer.cls_token_id, "end": tokenizer.sep_token_id, "pad": tokenizer.pad_token_id}
        options = GenerationOptions(
            **special,
            forbidden=(tokenizer.mask_token_id, tokenizer.unk_token_id),
            max_length=decoder.config.max_length,
        )
        decoder.eval().to(self.device)
        x, y, z = grid.shape[2:]
        with torch.inference_mode():
            memory = decoder.memory(rearrange(grid, "b c x y z -> b (x y z) c"), (x, y, z))
        (pieces,) = generate(decoder, memory, options)
        return str(tokenizer.decode(pieces)).strip()


def _thinned(grid: Tensor) -> Tensor:
    """(n, C) tokens of a grid of at most `TOKEN_EDGE` patches an axis, by averaging cubes."""
    edge = -(-max(grid.shape[2:]) // TOKEN_EDGE)
    pooled = F.avg_pool3d(grid, edge, ceil_mode=True) if edge > 1 else grid
    return rearrange(pooled, "1 c x y z -> (x y z) c")
