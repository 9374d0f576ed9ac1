"""What a front end says of an answer that leaves little to see."""

from __future__ import annotations

from colipri_core.editing.change import Change
from colipri_core.editing.change import EditingState
from colipri_core.editing.edits import OverlapPolicy
from colipri_core.prompts.types import Phrase
from colipri_core.prompts.types import Prompt

NOTHING = "Nothing was outlined. Click well inside the object, or draw a stroke along it."


def answer_notice(prompt: Prompt, change: Change, state: EditingState, *, policy: OverlapPolicy) -> str:
    """Return why a positive prompt did little, and what to do; empty if it did what was asked.

    Args:
        prompt: The prompt.
        change: What its answer changed.
        state: How the editor stands since.
        policy: The policy it was asked with.
    """
    if not (isinstance(prompt, Phrase) or prompt.positive):
        return ""
    if change.voxels_kept > change.voxels_changed:
        owners, remedy = ("other", "untick Keep other objects") if policy == "keep" else ("locked", "unlock them")
        return f"{change.voxels_kept:,} voxels belong to {owners} objects; {remedy} to take them."
    return NOTHING if not state.voxels.get(change.label) else ""
