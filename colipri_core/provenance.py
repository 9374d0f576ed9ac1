"""Where a result came from: model, preprocessing, software, device and time taken."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelCard:
    """The identity of a model, shown wherever a number of its appears.

    Args:
        name: Bundle name, such as "tiny".
        sha256: Hash of the weights file.
        kind: Bundle kind, such as "colipri".
        training_data: One line on what it was trained on.
        synthetic: Whether it was trained on generated data only.
        licence: Licence of the weights.
    """

    name: str
    sha256: str
    kind: str
    training_data: str
    synthetic: bool
    licence: str

    @property
    def notice(self) -> str:
        """One line for panels and exports."""
        origin = "SYNTHETIC training data" if self.synthetic else "training data"
        return f"{self.name} ({self.sha256[:8]}), {origin}: {self.training_data} Research use only, not for diagnosis."

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with the notice."""
        return {**dataclasses.asdict(self), "notice": self.notice}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """What produced a result.

    Args:
        model: The model.
        preprocessing: The preprocessing spec as plain values.
        versions: Package name -> version.
        device: Device the model ran on, such as "cpu" or "cuda:0".
        timings: Step -> seconds; a step served from the cache is named so.
        warnings: What the reader should know of the input (field of view, intensities, out of distribution).
        precision: Floating type the image encoder ran in, such as "float32" or "bfloat16".
    """

    model: ModelCard
    preprocessing: dict[str, Any]
    versions: dict[str, str]
    device: str
    timings: dict[str, float]
    warnings: tuple[str, ...] = ()
    precision: str = "float32"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "model": self.model.to_json(),
            "preprocessing": self.preprocessing,
            "versions": self.versions,
            "device": self.device,
            "precision": self.precision,
            "timings": self.timings,
            "warnings": list(self.warnings),
        }
