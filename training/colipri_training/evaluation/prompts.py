"""The ways a finding is put to a model in zero-shot evaluation: short, long, as the viewers ask, and never seen.

COLIPRI's own short and long prompts are not published where we could read them. `short` is the wording of the
published model's card, `ct-clip` that of CT-CLIP's evaluation; the others are our choice and documented as such.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from colipri_core.model.bundle import Bundle
from colipri_core.model.tokenizer import tokenize
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_core.vocabulary.wordings import wording
from colipri_training.evaluation.zero_shot import Prompts
from colipri_training.phantoms.phrases import EVALUATION_TEMPLATES
from colipri_training.phantoms.phrases import PHRASES

ENGINE = "engine"
UNSEEN = "unseen"
_BATCH = 64

LONG_TEMPLATES: tuple[tuple[str, str], ...] = (
    ("There is {term} in the chest.", "There is no {term} in the chest."),
    ("The CT of the chest shows {term}.", "The CT of the chest shows no {term}."),
    ("Findings are consistent with {term}.", "No findings consistent with {term} are seen."),
    ("{term} is seen in this examination.", "{term} is not seen in this examination."),
)
"""Report-style sentences for each term of a finding (our choice)."""


def short_prompts() -> Prompts:
    """Name and "present" against "No", name and "present": the wording of the published model's card."""
    names = [concept.name for concept in CT_RATE_CONCEPTS]
    return [([f"{name} present"], [f"No {name[0].lower()}{name[1:]} present"]) for name in names]


def ct_clip_prompts() -> Prompts:
    """Name and "is present." against name and "is not present.": the wording of CT-CLIP's evaluation."""
    return [([f"{concept.name} is present."], [f"{concept.name} is not present."]) for concept in CT_RATE_CONCEPTS]


def long_prompts() -> Prompts:
    """Report-style sentences with every term of the finding."""
    return [_fill(LONG_TEMPLATES, "term", concept.terms) for concept in CT_RATE_CONCEPTS]


def engine_prompts() -> Prompts:
    """What the viewers ask; a bundle's calibration holds for these."""
    pairs = [wording(concept.name) for concept in CT_RATE_CONCEPTS]
    return [(pair.present, pair.absent) for pair in pairs]


def unseen_prompts() -> Prompts:
    """Wordings that no report of a phantom contains, with the terms that do occur in reports."""
    return [_fill(EVALUATION_TEMPLATES, "x", phrases.terms) for phrases in PHRASES]


PROMPT_SETS: dict[str, Callable[[], Prompts]] = {
    "short": short_prompts,
    "ct-clip": ct_clip_prompts,
    "long": long_prompts,
    ENGINE: engine_prompts,
    UNSEEN: unseen_prompts,
}
"""Every set by name, each for the 18 findings in CT-RATE's order."""


def prompt_directions(prompts: Prompts, embed: Callable[[Sequence[str]], Tensor]) -> Tensor:
    """(F, E) from the absence of each finding to its presence.

    Each side is the mean of the unit vectors of its wordings, scaled to unit length again.

    Args:
        prompts: The wordings of each finding.
        embed: Texts to unit vectors (T, E).
    """
    sides = [side for pair in prompts for side in pair]
    vectors = embed([text for side in sides for text in side]).split([len(side) for side in sides])
    means = [F.normalize(group.mean(dim=0), dim=0) for group in vectors]
    return torch.stack(means[::2]) - torch.stack(means[1::2])


def bundle_directions(bundle: Bundle, name: str) -> Tensor:
    """(F, E) from the absence to the presence of each finding, as a bundle understands a prompt set."""
    return prompt_directions(PROMPT_SETS[name](), lambda texts: text_vectors(bundle, texts))


def text_vectors(bundle: Bundle, texts: Sequence[str]) -> Tensor:
    """(T, E) unit vectors of texts, float32, on the CPU; tokenised as the bundle's spec says.

    Args:
        bundle: The model.
        texts: Any texts, at least one; longer ones than the model takes are cut.
    """
    text, device = bundle.spec.text, bundle.model.softmax_temperature.device
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            ids, mask = tokenize(bundle.tokenizer, batch, text.max_length, pad_to_max=text.legacy_padding)
            encoded = bundle.model.encode_text(ids.to(device), mask.to(device), legacy_padding=text.legacy_padding)
            vectors.append(encoded.float().cpu())
    return torch.cat(vectors)


def _fill(templates: Sequence[tuple[str, str]], slot: str, terms: Sequence[str]) -> tuple[list[str], list[str]]:
    sides = ([template[side].format(**{slot: term}) for template in templates for term in terms] for side in (0, 1))
    present, absent = sides
    return present, absent
