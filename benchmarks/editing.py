"""Random edits, undone and redone, on a CT of real size: is every state the one its journal replays to, and how fast?

    OMP_NUM_THREADS=1 python benchmarks/editing.py                                       # 10,000 edits; an hour
    OMP_NUM_THREADS=1 python benchmarks/editing.py --ct CT.nii.gz --output E.json        # on a real CT, with the model
    python benchmarks/editing.py --edits 100 --shape 48 40 32 --output /tmp/e.json       # smoke test; seconds

After each of the edits (brush, eraser, prompts, undo, redo, objects added, renamed, locked, reset, removed):

* a second editor, which sees nothing but the journal on disk, must hold the same labels, voxel for voxel: compared in
  the changed box each time, and in the whole volume after every 25th edit and the last;
* after an undo or redo, the labels in the box must be those that stood there at this depth of the history before.

Without `--ct` the volume is blank and random blobs answer the prompts; with it the prompts are points, scribbles and
boxes in the body, and the shipped interactive model answers.

In the end all is undone, which must leave no voxel, and the journal is opened anew, which must bring everything back.
Prints a table and writes JSON. The times are those of the edits alone, forcing each to disk included.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "core" / "editing")]

from edit_scripts import RandomEditing  # noqa: E402
from edit_scripts import blank_volume  # noqa: E402

import colipri_core as cc  # noqa: E402
from colipri_core.editing.editor import LabelEditor  # noqa: E402
from colipri_core.editing.journal import JournalReader  # noqa: E402
from colipri_core.editing.journal import journal_path  # noqa: E402
from colipri_core.inference.segmenters import segmenter_loader  # noqa: E402
from colipri_core.prompts import Box  # noqa: E402
from colipri_core.prompts import Point  # noqa: E402
from colipri_core.prompts import Prompt  # noqa: E402
from colipri_core.prompts import Scribble  # noqa: E402
from colipri_core.prompts import Segmenter  # noqa: E402
from colipri_core.volume import Volume  # noqa: E402

_WHOLE_EVERY = 25
"""After so many edits every voxel is compared; between them, those of the box that was changed."""


_TISSUE_HU = -300
"""Prompts of a CT are put where it is denser than this: in the body, the table now and then."""


class AnsweredEditing(RandomEditing):
    """Random editing whose prompts are in the body of a CT, and are answered by a model.

    Args:
        editor: The editor of the CT.
        segmenter: The model.
        seed: Seed of the choices.
        size: Largest edge of a brush, and of a box or the reach of a scribble, in voxels.
    """

    def __init__(self, editor: LabelEditor, segmenter: Segmenter, *, seed: int, size: int) -> None:
        super().__init__(editor, seed=seed, size=size)
        self._segmenter = segmenter
        self._tissue = np.argwhere(editor.volume.voxels > _TISSUE_HU).astype(np.int16)

    def _prompt(self) -> None:
        asked = self.editor.ask(self._drawn(), label=self._label(), policy=self._policy())
        previous = None if asked.previous.is_empty else asked.previous
        with torch.inference_mode():
            proposal = self._segmenter.propose(self.editor.volume, asked.prompts, previous=previous)
        self.editor.answer(asked, proposal, model=self._segmenter.card)

    def _drawn(self) -> Prompt:
        """A prompt that begins at some voxel of the body; three of four are positive."""
        begin = self._rng.choice(self._tissue)
        positive = bool(self._rng.random() < 0.75)
        last = np.asarray(self.editor.volume.shape) - 1
        others = np.clip(begin + self._rng.integers(-self._size // 2, self._size // 2 + 1, (3, 3)), 0, last)
        places = [self.editor.volume.geometry.index_to_world(index) for index in (begin, *others)]
        ras = [(float(x), float(y), float(z)) for x, y, z in places]
        kind = self._rng.choice(["point", "scribble", "box"], p=[0.6, 0.2, 0.2])
        if kind == "point":
            return Point(ras=ras[0], positive=positive)
        if kind == "scribble":
            return Scribble(ras=tuple(ras), positive=positive)
        return Box(lower_ras=ras[0], upper_ras=ras[1], positive=positive)


class Watch:
    """Checks every state of an editor against its journal and its own past.

    Args:
        editor: The editor, with autosave.
        journal: Its journal.
    """

    def __init__(self, editor: LabelEditor, journal: Path) -> None:
        self._editor = editor
        self._reader = JournalReader(journal)
        self._mirror = LabelEditor(editor.volume)
        self._past: list[tuple[int, int]] = []

    def check(self, *, whole: bool) -> None:
        """Compare the present state.

        Args:
            whole: Compare every voxel of the volume, not those of the changed box alone.

        Raises:
            AssertionError: If it is not the one the journal replays to, or an undo led elsewhere.
        """
        ours, theirs = self._editor._canvas, self._mirror._canvas  # themselves: copies would be most of the work
        for event in self._reader.read():
            depth = len(self._mirror.steps)
            step = event.step or (self._editor._undone[-1] if event.kind == "undo" else self._editor._done[-1])
            box = step.delta.box if step.delta else (slice(0), slice(0), slice(0))
            before = _crc(theirs.labelmap[box])
            self._mirror.replay(event)
            assert np.array_equal(ours.labelmap[box], theirs.labelmap[box]), f"{event.kind} replays otherwise"
            after = _crc(ours.labelmap[box])
            if event.kind == "do":
                self._past[depth:] = [(before, after)]
            elif event.kind == "undo":
                assert self._past[depth - 1] == (after, before), f"undo at depth {depth} led elsewhere"
            else:
                assert self._past[depth] == (before, after), f"redo at depth {depth} led elsewhere"
        if whole:
            assert np.array_equal(theirs.labelmap, ours.labelmap), "the journal replays to another state"


def run(
    edits: int, volume: Volume, segmenter: Segmenter | None = None, *, seed: int = 0, brush: int = 60
) -> dict[str, Any]:
    """Edit, watch, and measure.

    Args:
        edits: How many edits.
        volume: The volume.
        segmenter: The model that answers prompts; random blobs do without one.
        seed: Seed of the edits.
        brush: Largest edge of a brush in voxels.

    Returns:
        The figures, as JSON values.
    """
    with tempfile.TemporaryDirectory() as folder:
        editor = LabelEditor(volume, autosave=Path(folder))
        path = journal_path(Path(folder), volume)
        editing = RandomEditing(editor, seed=seed, size=brush)
        if segmenter is not None:
            editing = AnsweredEditing(editor, segmenter, seed=seed, size=brush)
        watch = Watch(editor, path)
        kinds: Counter[str] = Counter()
        seconds = []
        for number in range(edits):
            begin = time.perf_counter()
            kinds[editing.step()] += 1
            seconds.append(time.perf_counter() - begin)
            watch.check(whole=number % _WHOLE_EVERY == 0)
        watch.check(whole=True)
        figures = _figures(editor, seconds)
        editor.close()
        begin = time.perf_counter()
        again = LabelEditor(volume, autosave=Path(folder))
        figures["reopen_s"] = time.perf_counter() - begin
        assert np.array_equal(again.labelmap, editor.labelmap), "the journal opens to another state"
        figures["journal_mb"] = path.stat().st_size / 1e6
        while again.state.undo:
            again.undo()
        assert not again.labelmap.any(), "undoing everything left voxels"
        again.close()
    return {
        "edits": edits,
        "shape": list(volume.shape),
        "answers": segmenter.card.to_json() if segmenter is not None else "random blobs",
        "kinds": dict(kinds),
        **figures,
        "every_state_equals_its_replay": True,
    }


def _figures(editor: LabelEditor, seconds: list[float]) -> dict[str, Any]:
    median, most, longest = np.percentile(np.array(seconds) * 1e3, [50, 95, 100])
    state = editor.state
    packed = sum(len(step.delta.packed) for step in editor.steps if step.delta)
    return {
        "edit_ms_median": float(median),
        "edit_ms_p95": float(most),
        "edit_ms_max": float(longest),
        "undo_depth": len(state.undo),
        "history_mb": packed / 1e6,
        "labelled_voxels": sum(state.voxels.values()),
    }


def _crc(labels: npt.NDArray[Any]) -> int:
    """A hash of labels that does not depend on their type."""
    return zlib.crc32(np.ascontiguousarray(labels, dtype=np.uint16).data)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=10_000)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 200), help="of a blank volume")
    parser.add_argument("--ct", type=Path, help="a real volume, whose prompts the shipped interactive model answers")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "editing.json")
    options = parser.parse_args()
    i, j, k = options.shape
    volume, segmenter = blank_volume((i, j, k)), None
    if options.ct is not None:
        volume, segmenter = cc.read_volume(options.ct), segmenter_loader("clicks")("cpu")
    figures = run(options.edits, volume, segmenter, brush=min(60, min(volume.shape) // 2))
    document = {"benchmark": "editing", "machine": platform.processor() or platform.machine(), **figures}
    options.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    for name, value in figures.items():
        print(f"{name:32} {value if not isinstance(value, float) else f'{value:.3f}'}")


if __name__ == "__main__":
    main()
