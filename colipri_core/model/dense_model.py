"""DenseModel: an image encoder without a text side, with what the viewer asks of any model.

It has no joint space: its dense map is its deepest feature map, its pooled vector the mean of that. Naming: B volumes,
C channels, XYZ voxels, xyz feature grid.
"""

from __future__ import annotations

from einops import reduce
from torch import Tensor
from torch import nn

from colipri_core.model.dense_encoder import AnyEncoder
from colipri_core.model.dense_encoder import build_encoder
from colipri_core.model.dense_encoder import check_divides
from colipri_core.model.encoder import BlockHook
from colipri_core.model.encoder_config import EncoderConfig
from colipri_core.model.windows import Triple
from colipri_core.model.windows import block_hook
from colipri_core.model.windows import encode_windows
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter


class DenseModel(nn.Module):
    """A dense image encoder for 3D CT.

    Args:
        config: Sizes of the encoder.

    Attributes:
        config: As given.
        encoder: The encoder.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: AnyEncoder = build_encoder(config)

    @property
    def patch_size(self) -> int:
        """Voxels between neighbours of the deepest feature map."""
        return self.encoder.strides[-1]

    @property
    def width(self) -> int:
        """Channels of the deepest feature map."""
        return self.encoder.channels[-1]

    def features(self, images_BCXYZ: Tensor, on_block: BlockHook | None = None) -> Tensor:
        """Encode volumes to the deepest feature map (B, C, x, y, z); `on_block` is called at the end."""
        check_divides(images_BCXYZ, self.patch_size)
        levels: list[Tensor] = self.encoder(images_BCXYZ)
        if on_block is not None:
            on_block(1, 1)
        return levels[-1]

    def image_features(
        self,
        images: Tensor,
        window: int | Triple | None = None,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Tensor:
        """As `ColipriModel.image_features`: the deepest feature map, in windows if volumes are larger than one.

        Raises:
            ValueError: If the volume or the window does not divide by the deepest stride.
            Cancelled: If `cancel` was set.
        """
        report = Reporter(progress, cancel)
        shape = (window,) * 3 if isinstance(window, int) else window
        if shape is None or all(n <= w for n, w in zip(images.shape[2:], shape, strict=True)):
            return self.features(images, on_block=block_hook(report, 0, 1))
        return encode_windows(self, images, shape, report)

    def project_and_pool(self, grid: Tensor) -> Tensor:
        """Mean of a feature grid (B, C, x, y, z) over its places: (B, C)."""
        return reduce(grid, "b c x y z -> b c", "mean")

    def dense(self, grid: Tensor) -> Tensor:
        """The feature grid as it is: there is no other space to bring it to."""
        return grid
