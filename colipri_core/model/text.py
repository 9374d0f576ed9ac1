"""The text encoder: BERT without its own pooler, and mean-query attention pooling.

BERT comes from transformers; the published weights are CXR-BERT's, fine-tuned. There is no text projector: the hidden
width is the joint space. Naming: B batch, L text length, E channels.
"""

from __future__ import annotations

from torch import Tensor
from torch import nn
from transformers import BertConfig
from transformers import BertModel

from colipri_core.model.config import TextEncoderConfig
from colipri_core.model.pooling import MeanQueryPool


class TextEncoder(nn.Module):
    """Token ids to token states and pooled text vectors.

    Args:
        config: Sizes of the encoder.
        pooler_heads: Attention heads of the pooler.
    """

    def __init__(self, config: TextEncoderConfig, *, pooler_heads: int) -> None:
        super().__init__()
        self.config = config
        self.backbone = BertModel(_bert_config(config), add_pooling_layer=False)
        self.pooler = MeanQueryPool(config.hidden, pooler_heads)

    def states(self, input_ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Return BERT's last hidden states.

        Args:
            input_ids_BL: Word-piece ids, (B, L) int64, L at most ``config.max_length``.
            mask_BL: 1 at tokens, 0 at padding, (B, L).

        Returns:
            Token states, (B, L, E).
        """
        states: Tensor = self.backbone(input_ids_BL, attention_mask=mask_BL).last_hidden_state
        return states

    def forward(self, input_ids_BL: Tensor, mask_BL: Tensor, *, legacy_padding: bool = False) -> Tensor:
        """Return pooled text vectors (B, E), not normalised.

        Args:
            input_ids_BL: Word-piece ids, (B, L) int64.
            mask_BL: 1 at tokens, 0 at padding, (B, L).
            legacy_padding: Pool over padding too, as the official package did before 0.1.3. The result then depends
                on the padded length, which was always 512.
        """
        states = self.states(input_ids_BL, mask_BL)
        pooled: Tensor = self.pooler(states, None if legacy_padding else mask_BL)
        return pooled


def _bert_config(config: TextEncoderConfig) -> BertConfig:
    return BertConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.intermediate,
        max_position_embeddings=config.max_length,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
    )
