"""ColipriModel: the image encoder and the text encoder over one joint space, and how their embeddings are scored.

Parameter names are those of the published checkpoint (581 keys and 258,366,240 parameters at the published size), so
its file loads unchanged. Naming: B images, T texts, L text length, C width, E joint channels, XYZ voxels, xyz patch
grid, N = x y z tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch import nn

from colipri_core.model.config import ModelConfig
from colipri_core.model.encoder import ImageEncoder
from colipri_core.model.text import TextEncoder
from colipri_core.model.windows import Triple
from colipri_core.model.windows import block_hook
from colipri_core.model.windows import encode_windows
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter


class ColipriModel(nn.Module):
    """A vision-language encoder for 3D CT.

    Args:
        config: Sizes of the model; ``ModelConfig.published()`` for the released one.

    Attributes:
        config: As given.
        softmax_temperature: Divides cosine similarities before the softmax over prompts; a buffer, so that it
            travels with the weights. 1 unless training or a checkpoint sets it.
    """

    softmax_temperature: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = ImageEncoder(
            config.image, pooler_heads=config.pooler_heads, pooler_peaks=config.pooler_peaks
        )
        self.text_encoder = TextEncoder(config.text, pooler_heads=config.pooler_heads)
        self.register_buffer("softmax_temperature", torch.tensor(1.0))

    @property
    def patch_size(self) -> int:
        """Edge of a patch in voxels."""
        return self.config.image.patch_size

    @property
    def width(self) -> int:
        """Channels of a raw token."""
        return self.config.image.width

    def encode_tokens(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """Encode volumes to raw tokens, optionally only some of them.

        Args:
            images: Preprocessed volumes, (B, 1, X, Y, Z) in [-1, 1], each axis a multiple of the patch size.
            keep: (B, K) int64 indices of tokens in row-major grid order; the others are dropped before the blocks
                (masked autoencoding). None keeps all.

        Returns:
            Tokens after the final LayerNorm, (B, N, C) or (B, K, C).

        Raises:
            ValueError: If the volume does not divide into patches or ``keep`` has the wrong shape.
        """
        tokens: Tensor = self.image_encoder.backbone(images, keep)
        return tokens

    def image_features(
        self,
        images: Tensor,
        window: int | Triple | None = None,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Tensor:
        """Encode volumes to the raw patch grid, in windows if they are larger than ``window``.

        Args:
            images: Preprocessed volumes, (B, 1, X, Y, Z) in [-1, 1], each axis a multiple of the patch size.
            window: Edge or shape of a window in voxels; None encodes the whole volume at once.
            progress: Receives the finished fraction after every block.
            cancel: Looked at after every block.

        Returns:
            The raw patch grid, (B, C, x, y, z).

        Raises:
            ValueError: If the volume or the window does not divide into patches.
            Cancelled: If ``cancel`` was set.
        """
        report = Reporter(progress, cancel)
        shape = (window,) * 3 if isinstance(window, int) else window
        if shape is None or all(n <= w for n, w in zip(images.shape[2:], shape, strict=True)):
            return self.image_encoder.features(images, on_block=block_hook(report, 0, 1))
        return encode_windows(self.image_encoder, images, shape, report)

    def project_and_pool(self, grid: Tensor) -> Tensor:
        """Project a raw patch grid (B, C, x, y, z) and pool over all its tokens: (B, E), not normalised."""
        return self.image_encoder.pool(grid)

    def dense(self, grid: Tensor) -> Tensor:
        """Bring every token of a raw patch grid (B, C, x, y, z) into the joint space: (B, E, x, y, z).

        Each token goes through the projector and the value path of the pooler. Not normalised; gradients flow.
        """
        return self.image_encoder.dense(grid)

    def encode_image(
        self, images: Tensor, *, project: bool = True, pool: bool = True, normalize: bool = False
    ) -> Tensor:
        """Encode volumes in one pass.

        Args:
            images: Preprocessed volumes, (B, 1, X, Y, Z) in [-1, 1], each axis a multiple of the patch size.
            project: Go to the joint space.
            pool: Pool to one vector a volume; needs ``project``.
            normalize: Scale to unit length over the channels.

        Returns:
            (B, E) pooled; (B, E, x, y, z) if only projected; (B, C, x, y, z) if neither.

        Raises:
            ValueError: If ``pool`` is asked for without ``project``, or the volume does not divide into patches.
        """
        if pool and not project:
            msg = "pool=True needs project=True: the pooler works in the joint space, got project=False"
            raise ValueError(msg)
        embeddings = self.image_features(images)
        if project:
            embeddings = self.project_and_pool(embeddings) if pool else self.dense(embeddings)
        return F.normalize(embeddings, dim=1) if normalize else embeddings

    def encode_text(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        *,
        normalize: bool = True,
        legacy_padding: bool = False,
    ) -> Tensor:
        """Encode tokenised texts.

        Args:
            input_ids: Word-piece ids, (T, L) int64, L at most the text encoder's ``max_length``.
            attention_mask: 1 at tokens, 0 at padding, (T, L). The result does not depend on the padding.
            normalize: Scale to unit length.
            legacy_padding: Pool over padding too, as the official package did before 0.1.3; then always pad to 512.

        Returns:
            Text vectors, (T, E).

        Raises:
            ValueError: If the mask has another shape than the ids or leaves a text without tokens.
        """
        pooled: Tensor = self.text_encoder(input_ids, attention_mask, legacy_padding=legacy_padding)
        return F.normalize(pooled, dim=1) if normalize else pooled

    def similarity(self, image_embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
        """Return dot products of image embeddings with texts (cosines if both are normalised).

        Args:
            image_embeddings: (B, E) pooled or (B, E, x, y, z) dense.
            text_embeddings: (T, E).

        Returns:
            (B, T) or (B, T, x, y, z).
        """
        return torch.einsum("be...,te->bt...", image_embeddings, text_embeddings)

    def probabilities(self, image_embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
        """Return the softmax over the texts of similarity / ``softmax_temperature``.

        The softmax always runs over the texts (dim 1); the official ``classify`` does so for pooled embeddings only.

        Args:
            image_embeddings: L2-normalised, (B, E) or (B, E, x, y, z).
            text_embeddings: L2-normalised, (T, E).

        Returns:
            (B, T) or (B, T, x, y, z), summing to 1 over T.
        """
        similarity = self.similarity(image_embeddings, text_embeddings)
        return (similarity / self.softmax_temperature).softmax(dim=1)
