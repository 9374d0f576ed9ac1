"""What a user points at: prompts in RAS+ mm, their voxels, and the protocol of the models that answer them."""

from __future__ import annotations

from colipri_core.prompts.crop import Crop
from colipri_core.prompts.raster import prompt_mask
from colipri_core.prompts.segmenter import Segmenter
from colipri_core.prompts.types import Box
from colipri_core.prompts.types import Lasso
from colipri_core.prompts.types import Phrase
from colipri_core.prompts.types import Point
from colipri_core.prompts.types import Position
from colipri_core.prompts.types import Prompt
from colipri_core.prompts.types import Scribble
from colipri_core.prompts.types import SpatialPrompt
from colipri_core.prompts.types import prompt_from_json

__all__ = [
    "Box",
    "Crop",
    "Lasso",
    "Phrase",
    "Point",
    "Position",
    "Prompt",
    "Scribble",
    "Segmenter",
    "SpatialPrompt",
    "prompt_from_json",
    "prompt_mask",
]
