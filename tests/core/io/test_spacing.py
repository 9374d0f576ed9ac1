"""Spacings that a header does not state: what was assumed is said, what is there is kept."""

from __future__ import annotations

import numpy as np
import pytest

from colipri_core.errors import VolumeWarning
from colipri_core.io import read_volume


@pytest.mark.parametrize(
    ("name", "stated", "assumed"),
    [
        ("scan.nrrd", "", True),
        ("scan.nrrd", "spacings: nan nan nan\n", True),
        ("scan.nrrd", "space: left-posterior-superior\n", True),
        ("scan.nrrd", "spacings: 30 30 30\n", False),
        ("scan.nrrd", "space: LPS\nspace directions: (30,0,0) (0,30,0) (0,0,30)\n", False),
        ("scan.mha", "", True),
        ("scan.mha", "ElementSpacing = 30 30 30\n", False),
        ("scan.mha", "ElementSize = 30 30 30\n", False),
    ],
)
def test_a_spacing_that_was_assumed_is_said(tmp_path, name, stated, assumed):
    start, end = {
        "scan.nrrd": ("NRRD0005\ntype: int16\ndimension: 3\nsizes: 4 4 4\n", "endian: little\nencoding: raw\n\n"),
        "scan.mha": (
            "ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 4 4 4\n",
            "ElementType = MET_SHORT\nElementDataFile = LOCAL\n",
        ),
    }[name]
    voxels = np.frombuffer(b"\nspacings: 2 2 2\nElementSpacing = 2 2 2\n".ljust(128, b"\n"), dtype="<i2")
    (tmp_path / name).write_bytes(f"{start}{stated}{end}".encode() + voxels.tobytes())
    with pytest.warns(VolumeWarning) as caught:
        volume = read_volume(tmp_path / name)
    texts = [str(warning.message) for warning in caught]
    assert any("no spacing; 1 mm was assumed" in text for text in texts) == assumed
    assert volume.spacing == pytest.approx((1.0,) * 3 if assumed else (30.0,) * 3)
