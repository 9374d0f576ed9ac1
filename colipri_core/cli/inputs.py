"""The files a command reads: nothing that it writes takes the place of one, or of any other DICOM image."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from colipri_core.io.dicom_headers import holds_image

_Identity = tuple[int, int] | str


class Inputs:
    """What a command reads. Links, other spellings and other cases of a name are the file they lead to.

    DICOM images are never replaced, whichever they are: a series is named by its folder or by one of its slices, and
    what a command writes as `.dcm` is none.

    Args:
        paths: The CTs; folders of DICOM images may be among them.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._files = {_identity(path): path for path in paths if os.path.isfile(path)}

    def check(self, *outputs: Path) -> None:
        """Refuse files to be written that are inputs.

        Args:
            outputs: The files; most of them do not exist yet.

        Raises:
            ValueError: If one is an input or a DICOM image, or there can be no file of its name.
        """
        for output in outputs:
            source = self._files.get(_identity(output))
            if source is not None:
                msg = f'The output "{output}" is the input "{source}", which would be lost. Name another file.'
                raise ValueError(msg)
            if os.path.isfile(output) and holds_image(output):
                msg = f'The output "{output}" is a DICOM image, which would be lost. Name another file.'
                raise ValueError(msg)


def same_file(first: Path, second: Path) -> bool:
    """Whether two paths lead to one file, be it there or not."""
    return _identity(first) == _identity(second)


def _identity(path: Path) -> _Identity:
    """What two paths to one file share: its numbers on the disk if there is one, else the path without links.

    The path counts without upper and lower case, since a file that is not there yet cannot show whether its disk tells
    them apart.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return str(path.resolve()).casefold()
    except OSError as error:
        msg = f'Cannot use "{path}": {error.strerror}. Choose another name.'
        raise ValueError(msg) from error
    return found.st_dev, found.st_ino
