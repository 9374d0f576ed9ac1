"""Names of models and data sets as names of files."""

from __future__ import annotations

import re


def file_name(text: str) -> str:
    """Return a text with dashes for whatever does not belong in a file's name, such as the slash of a hub id."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-") or "unnamed"
