"""DenseSpec: the `spec.json` of an image encoder without a text side, a bundle of kind "dense"; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from typing import Any

from colipri_core.model.config import check_keys
from colipri_core.model.encoder_config import EncoderConfig
from colipri_core.model.encoder_config import encoder_from_json
from colipri_core.model.encoder_config import encoder_to_json
from colipri_core.model.spec import FORMAT_VERSION
from colipri_core.model.spec import STORAGES
from colipri_core.model.spec import StructureSpec
from colipri_core.model.spec import card_of
from colipri_core.model.spec import check_document
from colipri_core.model.spec import check_storage
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.provenance import ModelCard

DENSE = "dense"


@dataclass(frozen=True, kw_only=True)
class DenseSpec:
    """What a bundle of a dense image encoder holds and how a CT is brought to it.

    Attributes:
        name: Short name, such as "t3d".
        kind: Always "dense".
        description: One or two sentences for people.
        architecture: Sizes of the encoder.
        preprocessing: How a CT becomes a model input.
        window: Edge of an encoding window in voxels; None encodes the model grid in one pass.
        structures: The structure head, if there is one.
        licence: Licence of the weights (SPDX identifier or name).
        training_data: One line on what the model was trained on.
        synthetic: Whether it was trained on generated data only.
        storage: Floating type of the weights in the file, of `STORAGES`.
        files: File name -> SHA-256; filled in when a bundle is saved.
        format_version: Version of this document.
    """

    name: str
    kind: str = DENSE
    description: str
    architecture: EncoderConfig
    preprocessing: PreprocessSpec
    window: int | None = None
    structures: StructureSpec | None = None
    licence: str
    training_data: str
    synthetic: bool
    storage: str = STORAGES[0]
    files: Mapping[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        """Refuse a document this version cannot honour."""
        check_document(kind=self.kind, kinds=(DENSE,), format_version=self.format_version, files=self.files)
        check_storage(self.storage)

    def card(self, sha256: str) -> ModelCard:
        """Return the model's identity.

        Args:
            sha256: Hash of the weights file.
        """
        return card_of(self, sha256)

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of plain JSON values that `from_json` reads back."""
        return {
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "architecture": encoder_to_json(self.architecture),
            "preprocessing": self.preprocessing.to_json(),
            "structures": self.structures and self.structures.to_json(),
            "files": dict(self.files),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> DenseSpec:
        """Read a dictionary written by `to_json`.

        Raises:
            ValueError: If a key is missing or unknown, at any level; the message names it.
            TypeError: If a value has the wrong type.
        """
        check_keys("spec", document, {f.name for f in fields(cls)})
        structures = document["structures"]
        return cls(
            **{
                **document,
                "architecture": encoder_from_json(document["architecture"]),
                "preprocessing": PreprocessSpec.from_json(document["preprocessing"]),
                "structures": None if structures is None else StructureSpec.from_json(structures),
            }
        )
