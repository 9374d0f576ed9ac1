"""Makes ColipriLib importable for tests; those on real MRML have a conftest of their own."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "slicer_extension" / "Colipri")]
