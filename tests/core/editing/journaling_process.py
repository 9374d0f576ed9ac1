"""A process that edits at random with autosave and says after each edit how many it has made; killed by its test."""

from __future__ import annotations

import sys
from pathlib import Path

from edit_scripts import RandomEditing
from edit_scripts import blank_volume

from colipri_core.editing.editor import LabelEditor

SHAPE = (40, 36, 24)
SEED = 5

if __name__ == "__main__":
    editor = LabelEditor(blank_volume(SHAPE), autosave=Path(sys.argv[1]))
    editing = RandomEditing(editor, seed=SEED)
    for number in range(1, 100_000):
        editing.step()
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
