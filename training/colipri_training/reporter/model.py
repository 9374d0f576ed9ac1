"""LanguageReporter: a causal language model that reads patch tokens before it writes (after LLaVA, Liu et al., 2023).

The encoder's tokens are averaged in cubes, go through a two-layer projector into the embedding space of the language
model, and stand before the prompt and the report. Only the projector and LoRA matrices (Hu et al., 2022) learn. Sizes
are our choice. Naming: B reports, M image tokens, L word pieces, C channels of the encoder, H of the language model.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from peft import LoraConfig
from peft import PeftModel
from peft import get_peft_model
from safetensors.torch import load_file
from safetensors.torch import save_file
from torch import Tensor
from torch import nn
from transformers import AutoModelForCausalLM
from transformers import AutoTokenizer
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase

_CONFIG, _PROJECTOR, _ADAPTER = "reporter.json", "projector.safetensors", "adapter"
_IGNORED = -100
"""Label that `transformers` leaves out of the loss."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReporterConfig:
    """What a reporter is made of.

    Args:
        language_model: Folder or hub id of a causal language model.
        token_width: Channels of the encoder's raw tokens.
        pool: Edge of the cubes of patches that are averaged to one image token.
        rank: Rank of the LoRA matrices.
        alpha: Their scale is alpha / rank.
        dropout: Dropout before them.
        prompt: Stands between the image tokens and the report.
        max_length: Longest report in word pieces.
    """

    language_model: str
    token_width: int
    pool: int = 2
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    prompt: str = "Report of this chest CT:"
    max_length: int = 512


class LanguageReporter(nn.Module):
    """A language model with a projector for patch tokens.

    Args:
        config: What it is made of.
        language_model: The language model, with or without LoRA matrices.
        tokenizer: Its tokenizer.
    """

    def __init__(
        self, config: ReporterConfig, language_model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        hidden = language_model.get_input_embeddings().weight.shape[1]
        self.projector = nn.Sequential(
            nn.LayerNorm(config.token_width),
            nn.Linear(config.token_width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
        )
        self.language_model = language_model

    @classmethod
    def fresh(cls, config: ReporterConfig, **loading: Any) -> LanguageReporter:
        """Load a language model and add new LoRA matrices to all its linear layers.

        Args:
            config: What it is made of.
            **loading: Passed to `from_pretrained`, such as `dtype`.
        """
        model, tokenizer = _load(config, loading)
        lora = LoraConfig(
            task_type="CAUSAL_LM",
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules="all-linear",
        )
        return cls(config, get_peft_model(model, lora), tokenizer)

    @classmethod
    def load(cls, folder: Path, **loading: Any) -> LanguageReporter:
        """Open what `save` wrote; the language model itself comes from where it came from.

        Args:
            folder: The folder.
            **loading: Passed to `from_pretrained`.
        """
        config = ReporterConfig(**json.loads((folder / _CONFIG).read_text(encoding="utf-8")))
        model, tokenizer = _load(config, loading)
        reporter = cls(config, PeftModel.from_pretrained(model, str(folder / _ADAPTER)), tokenizer)
        reporter.projector.load_state_dict(load_file(folder / _PROJECTOR), strict=True)
        return reporter.eval()

    def save(self, folder: Path) -> None:
        """Write projector and LoRA matrices; the folder appears complete or not at all.

        Args:
            folder: Replaced if it is there.
        """
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / _CONFIG).write_text(json.dumps(dataclasses.asdict(self.config), indent=2) + "\n", encoding="utf-8")
        save_file(self.projector.state_dict(), partial / _PROJECTOR)
        self.language_model.save_pretrained(str(partial / _ADAPTER))
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)

    def learned(self) -> dict[str, Tensor]:
        """What learns, by name: the projector and the LoRA matrices."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    def forward(self, tokens_BMC: Tensor, reports: Sequence[str]) -> Tensor:
        """Return the mean negative log-likelihood of the reports' word pieces, end included, in nats.

        Args:
            tokens_BMC: Pooled patch tokens.
            reports: One report each.
        """
        ends = [f"{text}{self.tokenizer.eos_token}" for text in reports]
        written = self.tokenizer(
            ends,
            return_tensors="pt",
            padding=True,
            padding_side="right",
            truncation=True,
            max_length=self.config.max_length,
            add_special_tokens=False,
        )
        ids_BL, mask_BL = (written[key].to(tokens_BMC.device) for key in ("input_ids", "attention_mask"))
        before_BKH = self._before(tokens_BMC)
        embeddings = torch.cat([before_BKH, self._embed(ids_BL)], dim=1)
        seen = torch.ones(before_BKH.shape[:2], dtype=mask_BL.dtype, device=mask_BL.device)
        labels = ids_BL.masked_fill(mask_BL == 0, _IGNORED)
        labels = torch.cat([labels.new_full(seen.shape, _IGNORED), labels], dim=1)
        mask = torch.cat([seen, mask_BL], dim=1)
        loss: Tensor = self.language_model(inputs_embeds=embeddings, attention_mask=mask, labels=labels).loss
        return loss

    @torch.inference_mode()
    def write(self, tokens_MC: Tensor, *, max_new_tokens: int | None = None) -> str:
        """Write the report of one volume, taking the likeliest piece each time.

        Args:
            tokens_MC: Pooled patch tokens of the volume.
            max_new_tokens: Longest report in word pieces; None for the config's.
        """
        before = self._before(rearrange(tokens_MC, "m c -> 1 m c"))
        ids = self.language_model.generate(
            inputs_embeds=before,
            attention_mask=torch.ones(before.shape[:2], dtype=torch.long, device=before.device),
            max_new_tokens=max_new_tokens or self.config.max_length,
            do_sample=False,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        return str(self.tokenizer.decode(ids[0], skip_special_tokens=True)).strip()

    def _before(self, tokens_BMC: Tensor) -> Tensor:
        """Embeddings (B, K, H) of the image tokens and the prompt."""
        prompt = self.tokenizer(self.config.prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
        prompt_BLH = self._embed(prompt.to(tokens_BMC.device).expand(len(tokens_BMC), -1))
        image_BMH = self.projector(tokens_BMC.to(self.projector[1].weight.dtype))
        return torch.cat([image_BMH.to(prompt_BLH.dtype), prompt_BLH], dim=1)

    def _embed(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.language_model.get_input_embeddings()(ids)
        return embedded


def _load(config: ReporterConfig, loading: dict[str, Any]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The language model and its tokenizer: safetensors only, no code of the model's author."""
    model = AutoModelForCausalLM.from_pretrained(config.language_model, use_safetensors=True, **loading)
    return model, AutoTokenizer.from_pretrained(config.language_model)
