"""PreprocessSpec: the frozen, JSON-serialisable description of how a CT becomes a model input.

It travels inside a bundle, so that nobody can preprocess differently from training. The steps are applied in
this order (COLIPRI's published preprocessing): reorient, resample, clamp to the intensity window, rescale to
[-1, 1], centre crop or pad to ``size``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import fields
from typing import Any
from typing import Literal

_AXIS_PAIRS = ({"R", "L"}, {"A", "P"}, {"S", "I"})


@dataclass(frozen=True, kw_only=True)
class PreprocessSpec:
    """How a volume is brought onto the model grid.

    Attributes:
        orientation: Three-letter code of the axes of the model grid, each letter naming the direction in
            which the index grows ("RAS": to the right, to anterior, to superior).
        spacing_mm: Voxel spacing of the model grid along its three axes, in mm.
        intensity_window: Lower and upper bound in HU; values are clamped to it, then mapped to [-1, 1].
        size: Shape of the model grid in voxels, along its three axes.
        padding: Value around a volume that is smaller than the grid: "minimum" (the minimum of the rescaled
            volume, as published) or a constant in the rescaled range [-1, 1].
        integer_truncation: Truncate integer volumes toward zero after resampling, as the official package
            does. A parity switch: it loses up to 1 HU and is off by default.
    """

    orientation: str = "RAS"
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
    intensity_window: tuple[float, float] = (-1000.0, 1000.0)
    size: tuple[int, int, int] = (192, 192, 192)
    padding: Literal["minimum"] | float = "minimum"
    integer_truncation: bool = False

    def __post_init__(self) -> None:
        """Normalise numeric types and refuse values that cannot describe a grid."""
        object.__setattr__(self, "orientation", _orientation(self.orientation))
        object.__setattr__(self, "spacing_mm", _positive_floats("spacing_mm", self.spacing_mm, 3))
        object.__setattr__(self, "intensity_window", _window(self.intensity_window))
        object.__setattr__(self, "size", _positive_ints("size", self.size))
        object.__setattr__(self, "padding", _padding(self.padding))
        _check_flag("integer_truncation", self.integer_truncation)

    @classmethod
    def published(cls) -> PreprocessSpec:
        """Return the preprocessing of the official package, version 0.1.3 (RAS, 2 mm, 192 voxels)."""
        return cls()

    @property
    def field_of_view_mm(self) -> tuple[float, float, float]:
        """Extent of the model grid along its three axes, in mm."""
        x, y, z = (n * mm for n, mm in zip(self.size, self.spacing_mm, strict=True))
        return x, y, z

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of plain JSON values that ``from_json`` reads back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> PreprocessSpec:
        """Read a dictionary written by ``to_json``.

        Args:
            document: The decoded JSON object; every field must be present and no other.

        Raises:
            ValueError: If a field is missing, unknown or has a value that cannot describe a grid.
            TypeError: If a field has the wrong type.
        """
        expected = {f.name for f in fields(cls)}
        missing, unknown = sorted(expected - set(document)), sorted(set(document) - expected)
        if missing or unknown:
            msg = f"preprocessing needs the keys {sorted(expected)}; missing {missing}, unknown {unknown}"
            raise ValueError(msg)
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in document.items()}
        return cls(**values)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        msg = f"{name} must be true or false, got {value!r}"
        raise TypeError(msg)


def _orientation(code: object) -> str:
    axes = [next((i for i, pair in enumerate(_AXIS_PAIRS) if c in pair), -1) for c in str(code).upper()]
    if sorted(axes) != [0, 1, 2]:
        msg = f"orientation must name each axis once with R/L, A/P and S/I, like 'RAS', got {code!r}"
        raise ValueError(msg)
    return str(code).upper()


def _positive_floats(name: str, values: object, count: int) -> tuple[float, ...]:
    if not isinstance(values, (tuple, list)) or len(values) != count:
        msg = f"{name} must hold {count} numbers, got {values!r}"
        raise TypeError(msg)
    if not all(_is_number(v) and v > 0 for v in values):
        msg = f"{name} must hold positive, finite numbers, got {values!r}"
        raise ValueError(msg)
    return tuple(float(v) for v in values)


def _positive_ints(name: str, values: object) -> tuple[int, ...]:
    numbers = _positive_floats(name, values, 3)
    if any(v != int(v) for v in numbers):
        msg = f"{name} must hold whole numbers of voxels, got {values!r}"
        raise ValueError(msg)
    return tuple(int(v) for v in numbers)


def _window(values: Any) -> tuple[float, float]:
    match values:
        case (low, high) if _is_number(low) and _is_number(high):
            low, high = float(low), float(high)
        case _:
            msg = f"intensity_window must hold a lower and an upper bound in HU, got {values!r}"
            raise TypeError(msg)
    if low >= high:
        msg = f"intensity_window must rise, got {values!r}"
        raise ValueError(msg)
    return low, high


def _padding(value: object) -> Literal["minimum"] | float:
    if value == "minimum":
        return "minimum"
    if not isinstance(value, (int, float)) or not _is_number(value):
        msg = f"padding must be 'minimum' or a number in [-1, 1], got {value!r}"
        raise TypeError(msg)
    if not -1 <= value <= 1:
        msg = f"padding must lie in the rescaled range [-1, 1], got {value!r}"
        raise ValueError(msg)
    return float(value)
