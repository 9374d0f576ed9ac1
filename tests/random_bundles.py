"""A small bundle of random weights, with a structure head, for tests of everything that needs a model but no skill."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch

from colipri_core.model.bundle import save_bundle
from colipri_core.model.colipri import ColipriModel
from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.config import ModelConfig
from colipri_core.model.config import TextEncoderConfig
from colipri_core.model.phrase_head import PhraseHead
from colipri_core.model.phrase_head import PhraseHeadConfig
from colipri_core.model.report_decoder import ReportDecoder
from colipri_core.model.report_decoder import ReportDecoderConfig
from colipri_core.model.spec import BundleSpec
from colipri_core.model.spec import StructureSpec
from colipri_core.model.spec import TextSpec
from colipri_core.model.structure_head import StructureHead
from colipri_core.model.structure_head import StructureHeadConfig
from colipri_core.model.tokenizer import tokenizer_from_vocabulary
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS

STRUCTURES = ("Body", "Left upper lung lobe", "Heart")
PATCH_SIZE = 4
SPACING_MM = 8.0
SIZE = 48


def vocabulary() -> list[str]:
    """Special tokens, the words of the default prompts, and letters (so that no finding is unknown)."""
    words = {word for concept in CT_RATE_CONCEPTS for term in concept.terms for word in term.lower().split()}
    words = {part for word in words for part in word.replace("-", " - ").split()}
    words |= {
        "present",
        "there",
        "is",
        "no",
        "not",
        ".",
        "the",
        "in",
        "left",
        "upper",
        "lobe",
        "small",
        "seen",
        "a",
        "and",
        ":",
        "findings",
        "impression",
    }
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words)]


def config(**image: Any) -> ModelConfig:
    """Sizes of the random model."""
    sizes: dict[str, Any] = {"width": 24, "depth": 2, "heads": 2, "embed_dim": 24, "patch_size": PATCH_SIZE, **image}
    text = TextEncoderConfig(
        vocab_size=len(vocabulary()), hidden=24, layers=1, heads=2, intermediate=32, max_length=32, dropout=0.0
    )
    return ModelConfig(image=ImageEncoderConfig(**sizes), text=text, pooler_heads=2)


def save_random_bundle(
    folder: Path,
    *,
    structures: bool = True,
    local: bool = False,
    writes: str = "",
    outlines: bool = False,
    seed: int = 0,
    **spec: Any,
) -> Path:
    """Write a bundle and return its folder.

    Args:
        folder: Where it goes; its name becomes the bundle's name.
        structures: Whether it has a structure head.
        local: Make a token tell of the mean intensity of its own patch, and of nothing else.
        writes: Text that its report decoder writes of any volume; without it there is no decoder.
        outlines: Whether it has a phrase head, which takes all that is brighter than -500 HU for any phrase.
        seed: Decides the weights.
        **spec: Fields of the spec to set otherwise.
    """
    torch.manual_seed(seed)
    model = ColipriModel(config())
    model.softmax_temperature.fill_(0.07)
    if local:
        _make_local(model)
    head = None
    if structures:
        sizes = StructureHeadConfig(token_width=24, patch_size=PATCH_SIZE, channels=4, structures=STRUCTURES)
        head = StructureHead(sizes)
        spec["structures"] = StructureSpec(names=STRUCTURES, config=sizes.to_json())
    text_file = folder.parent / f"{folder.name}-vocab.txt"
    text_file.parent.mkdir(parents=True, exist_ok=True)
    text_file.write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    values: dict[str, Any] = {
        "name": folder.name,
        "description": "Random weights for tests.",
        "architecture": config(),
        "preprocessing": PreprocessSpec(size=(SIZE,) * 3, spacing_mm=(SPACING_MM,) * 3, padding=-1.0),
        "text": TextSpec(max_length=32),
        "vocabulary": "ct-rate-18",
        "licence": "Apache-2.0",
        "training_data": "None, the weights are random.",
        "synthetic": True,
        **spec,
    }
    tokenizer = tokenizer_from_vocabulary(text_file)
    parts: dict[str, Any] = {"model": model, "tokenizer": tokenizer, "structure_head": head}
    if writes:
        parts["report_decoder"] = taught_decoder(tokenizer(writes)["input_ids"])
        values["report"] = parts["report_decoder"].config.to_json()
    if outlines:
        parts["phrase_head"] = bright_phrases()
        values["phrases"] = parts["phrase_head"].config.to_json()
    save_bundle(folder, spec=BundleSpec(**values), **parts)
    return folder


@functools.cache
def bright_phrases() -> PhraseHead:
    """A small phrase head trained, within seconds, to outline the bright voxels whatever the phrase and the tokens."""
    torch.manual_seed(0)
    head = PhraseHead(PhraseHeadConfig(token_width=24, patch_size=PATCH_SIZE, embed_dim=24, channels=8, width=4))
    torch.nn.init.zeros_(head.query.weight).requires_grad_(False)
    head.query.bias.data[5:] = 0.0
    torch.nn.init.zeros_(head.voxels.tokens.weight).requires_grad_(False)
    adam = torch.optim.Adam([weight for weight in head.parameters() if weight.requires_grad], lr=0.01)
    for _ in range(100):
        edge = int(torch.randint(3, 9, ()))
        corner = torch.randint(0, 24 - edge, (3,)).tolist()
        image = torch.full((1, 1, 24, 24, 24), -1.0)
        image[(0, 0, *(slice(start, start + edge) for start in corner))] = 0.0
        vectors = head(image, torch.zeros(1, 24, 6, 6, 6))
        logits = head.answer(vectors, torch.zeros(1, 24, 6, 6, 6), torch.ones(1, 1, 24))
        adam.zero_grad()
        target = (image > -0.5).float()
        torch.nn.functional.binary_cross_entropy_with_logits(logits, target, pos_weight=(1 / target.mean())).backward()
        adam.step()
    return head.requires_grad_(True).eval()


def taught_decoder(pieces: list[int]) -> ReportDecoder:
    """A small decoder trained, within a second or two, to write the given word pieces whatever it sees."""
    torch.manual_seed(0)
    sizes = {"memory_width": 24, "width": 24, "layers": 2, "heads": 2, "hidden": 48, "max_length": 64}
    decoder = ReportDecoder(ReportDecoderConfig(vocab_size=len(vocabulary()), dropout=0.0, **sizes))
    adam = torch.optim.Adam(decoder.parameters(), lr=0.01)
    ids = torch.tensor([pieces])
    for _ in range(80):
        logits = decoder(ids[:, :-1], decoder.memory(torch.randn(1, 64, 24), (4, 4, 4)))
        adam.zero_grad()
        torch.nn.functional.cross_entropy(logits[0], ids[0, 1:]).backward()
        adam.step()
    return decoder


def _make_local(model: ColipriModel) -> None:
    """Switch the blocks off and let the patch embedding average."""
    backbone = model.image_encoder.backbone
    for block in backbone.eva.blocks:
        torch.nn.init.zeros_(block.gamma_1)
        torch.nn.init.zeros_(block.gamma_2)
    patch = backbone.down_projection.proj
    patch.weight.data[:] = torch.randn(patch.weight.shape[0], 1, 1, 1, 1) / PATCH_SIZE**3
    torch.nn.init.normal_(patch.bias)
