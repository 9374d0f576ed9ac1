"""What a model is asked, and its answer as a step of the history."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.editing.canvas import Canvas
from colipri_core.editing.delta import Delta
from colipri_core.editing.edits import OverlapPolicy
from colipri_core.editing.edits import check_policy
from colipri_core.editing.objects import LabelObject
from colipri_core.editing.objects import as_label
from colipri_core.editing.objects import name_from
from colipri_core.editing.step import ObjectChange
from colipri_core.editing.step import Step
from colipri_core.editing.steps import changeable
from colipri_core.editing.steps import check_unlocked
from colipri_core.editing.steps import emptied
from colipri_core.editing.steps import ensured
from colipri_core.editing.steps import wide_enough
from colipri_core.prompts.crop import Crop
from colipri_core.prompts.crop import Index
from colipri_core.prompts.crop import bounding_box
from colipri_core.prompts.types import Phrase
from colipri_core.prompts.types import Prompt
from colipri_core.provenance import ModelCard
from colipri_core.vocabulary.findings import find_concept
from colipri_core.vocabulary.structures import concept


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A prompt that was not answered yet, and the object as it stood when it was asked.

    Args:
        label: The object.
        prompt: The new prompt.
        prompts: All prompts of the object, the new one last.
        previous: The object's mask.
        policy: What happens to voxels of other objects.
    """

    label: int
    prompt: Prompt
    prompts: tuple[Prompt, ...]
    previous: Crop
    policy: OverlapPolicy


def question(canvas: Canvas, prompt: Prompt, *, label: int, policy: OverlapPolicy) -> Question:
    """Put a prompt with what it builds on.

    Raises:
        ObjectLockedError: If the object is locked.
        TypeError: If the label is no whole number.
        ValueError: If the policy is unknown.
    """
    label = as_label(label)
    check_policy(policy)
    check_unlocked(canvas, label)
    prompts = (*canvas.prompts_of(label), prompt)
    return Question(label=label, prompt=prompt, prompts=prompts, previous=canvas.crop(label), policy=policy)


def answered(canvas: Canvas, asked: Question, proposal: Crop, *, model: ModelCard) -> Step:
    """Return what an answer does to a canvas.

    What the proposal changes in the object as the model saw it is done to the object as it is now, so that edits made
    while the model was at work stay.

    Args:
        canvas: The state it meets.
        asked: What was asked.
        proposal: The whole mask the model proposes for the object.
        model: The model.

    Raises:
        ObjectLockedError: If the object was locked meanwhile.
        ValueError: If the proposal does not lie on the grid.
    """
    shape = canvas.labelmap.shape
    if any(b > size for b, size in zip(proposal.upper, shape, strict=True)):
        msg = f"Expected a proposal on the grid {shape}, got a box up to {proposal.upper}."
        raise ValueError(msg)
    objects = ensured(canvas, asked.label)
    delta = _delta(canvas, asked, proposal)
    if delta is not None and isinstance(asked.prompt, Phrase):
        objects = _named_after(asked.prompt, canvas, asked.label, objects)
    return Step(
        action=asked.prompt.kind,
        label=asked.label,
        delta=delta,
        objects=objects,
        prompt=asked.prompt,
        dropped=emptied(canvas, delta),
        model=model,
    )


def kept_by_others(canvas: Canvas, asked: Question, proposal: Crop) -> int:
    """Return how many voxels of a proposal stay with other objects.

    Args:
        canvas: The state it meets.
        asked: What was asked.
        proposal: The whole mask the model proposes, on the grid.
    """
    labels = canvas.labelmap[proposal.box]
    return int(np.count_nonzero(proposal.mask & ~changeable(labels, asked.label, canvas, asked.policy)))


def _named_after(
    phrase: Phrase, canvas: Canvas, label: int, made: tuple[ObjectChange, ...]
) -> tuple[ObjectChange, ...]:
    """What makes an object that nobody has named yet bear the words that outlined it, and the code they have."""
    fresh, before = LabelObject.new(label), canvas.objects.get(label)
    current = before or fresh
    if current.name != fresh.name:
        return made
    name = name_from(phrase.text)
    finding = find_concept(phrase.text)
    code = current.code or (finding or concept(phrase.text)).code
    named = dataclasses.replace(current, name=name[0].upper() + name[1:], code=code)
    return (ObjectChange(before=before, after=named),)


def _delta(canvas: Canvas, asked: Question, proposal: Crop) -> Delta | None:
    """The change that leads from what the model saw to what it proposes, looked at only where the two differ."""
    crops = [crop for crop in (asked.previous, proposal) if crop.mask.size]
    if not crops:
        return None
    low = np.min([crop.lower for crop in crops], axis=0)
    high = np.max([crop.upper for crop in crops], axis=0)
    seen, wanted = (crop.on_box(_index(low), _index(high)) for crop in (asked.previous, proposal))
    inner = bounding_box(seen ^ wanted)
    if inner is None:
        return None
    seen, wanted = seen[inner], wanted[inner]
    lower = _index(low + [part.start for part in inner])
    i, j, k = (slice(a, a + size) for a, size in zip(lower, seen.shape, strict=True))
    before = canvas.labelmap[i, j, k]
    after = wide_enough(before, asked.label)
    after[seen & ~wanted & (before == asked.label)] = 0
    after[wanted & ~seen & changeable(before, asked.label, canvas, asked.policy)] = asked.label
    return Delta.between(before, after, lower=lower)


def _index(values: npt.NDArray[Any]) -> Index:
    i, j, k = (int(value) for value in values)
    return i, j, k
