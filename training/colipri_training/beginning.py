"""Beginning: the tokenizer of a run and the note of what its weights start from, taken over once these have loaded.

A run with a checkpoint has both, and they stay. A run without one takes them anew, into a folder aside where its
processes read them, and from there into place as soon as the weights are loaded. So what is refused, or fails, leaves
the folder of the run as it was, and a note always tells of weights that were used.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from colipri_core.model.spec import WEIGHTS_FILE
from colipri_core.model.tokenizer import TOKENIZER_FILE
from colipri_core.model.tokenizer import VOCABULARY_FILE
from colipri_core.model.weights import file_sha256
from colipri_training.checkpoints import CheckpointError
from colipri_training.checkpoints import Checkpoints
from colipri_training.distributed import wait_for_all
from colipri_training.distributed import world
from colipri_training.start import START_FILE
from colipri_training.start import provide
from colipri_training.start import read_start

_ASIDE = "start.partial"


class Beginning:
    """What a run begins with; as a context it is taken over at the end, and given up after an error.

    Args:
        folder: Of the run.
        init: Bundle or hub id for all weights.
        text_init: Folder or hub id of a BERT for the text encoder alone.

    Attributes:
        begun: Whether the run has a checkpoint.
        place: Where its tokenizer and the note are to be read meanwhile.
    """

    def __init__(self, folder: Path, *, init: str | None, text_init: str | None) -> None:
        self.folder = folder
        self.begun = Checkpoints(folder / "checkpoints").exist
        self._init = init
        self._text_init = text_init
        self._aside = not self.begun and bool(init or text_init)
        self.place = folder / _ASIDE if self._aside else folder

    def provide(self) -> None:
        """Fetch what is not there yet; the first process does.

        Raises:
            ModelUnavailableError: If it is not there, or cannot be fetched.
            BundleError: If it is damaged.
            CheckpointError: If the run began with other weights of the same name.
        """
        if self.begun:
            self._refuse_others()
        elif self._aside:
            shutil.rmtree(self.place, ignore_errors=True)
            self.place.mkdir(parents=True)
            provide(self.place, init=self._init, text_init=self._text_init)
        elif (self.folder / START_FILE).is_file():
            # Weights that were loaded and never trained on: their tokenizer is not that of random ones.
            shutil.rmtree(self.folder / "tokenizer", ignore_errors=True)
            (self.folder / START_FILE).unlink()

    def __enter__(self) -> Self:
        """Go on to load the weights."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take over what was provided, or remove it after an error."""
        if error is None:
            wait_for_all()  # others may still read what is aside
        if not self._aside or not world().first:
            return
        if error is None:
            self._take_over()
        shutil.rmtree(self.place, ignore_errors=True)

    def _take_over(self) -> None:
        """The note first: a process that dies after it leaves no tokenizer that nothing tells the source of."""
        (self.place / START_FILE).replace(self.folder / START_FILE)
        shutil.rmtree(self.folder / "tokenizer", ignore_errors=True)
        (self.place / "tokenizer").replace(self.folder / "tokenizer")

    def _refuse_others(self) -> None:
        """A folder may hold another bundle by now; a run that goes on would not see it. What is gone is not missed."""
        started = read_start(self.folder)
        weights = None if started is None else Path(started.source).expanduser() / WEIGHTS_FILE
        if started is None or weights is None or not weights.is_file():
            return
        found = file_sha256(weights)
        if started.source == (self._init or self._text_init) and found != started.sha256:
            msg = (
                f"Expected the weights in {started.source} that the run in {self.folder} began with "
                f"({started.sha256[:12]}...), found others ({found[:12]}...). Choose another --output to begin with "
                "those, or put the former back to go on."
            )
            raise CheckpointError(msg)


def has_tokenizer(folder: Path) -> bool:
    """Whether the folder of a run holds word pieces."""
    return any((folder / "tokenizer" / name).is_file() for name in (TOKENIZER_FILE, VOCABULARY_FILE))
