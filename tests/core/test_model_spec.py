"""PreprocessSpec refuses what cannot describe a model grid."""

from __future__ import annotations

import json
from typing import Any

import pytest

from colipri_core.preprocess_spec import PreprocessSpec


@pytest.mark.parametrize("padding", ["minimum", -1, 0.25])
def test_json_round_trip(padding: Any) -> None:
    spec = PreprocessSpec(orientation="lps", size=(64, 96, 128), padding=padding, integer_truncation=True)
    assert spec.orientation == "LPS"
    assert PreprocessSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_published() -> None:
    spec = PreprocessSpec.published()
    assert (spec.orientation, spec.spacing_mm, spec.size) == ("RAS", (2, 2, 2), (192, 192, 192))
    assert spec.intensity_window == (-1000, 1000)
    assert spec.padding == "minimum"
    assert spec.field_of_view_mm == (384, 384, 384)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("orientation", "RAR", ValueError),
        ("orientation", "RA", ValueError),
        ("orientation", "XYZ", ValueError),
        ("spacing_mm", (2, 2), TypeError),
        ("spacing_mm", (2, 2, 0), ValueError),
        ("spacing_mm", (2, 2, float("nan")), ValueError),
        ("size", (192, 192, 1.5), ValueError),
        ("intensity_window", (1000, -1000), ValueError),
        ("intensity_window", (-1000,), TypeError),
        ("padding", "edge", TypeError),
        ("padding", -1000, ValueError),
        ("integer_truncation", 1, TypeError),
    ],
)
def test_impossible_values_are_refused(field: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=field):
        PreprocessSpec(**{field: value})


def test_keys_must_be_exact() -> None:
    document = PreprocessSpec().to_json()
    with pytest.raises(ValueError, match=r"missing \['size'\], unknown \['shape'\]"):
        PreprocessSpec.from_json({**{k: v for k, v in document.items() if k != "size"}, "shape": 1})
