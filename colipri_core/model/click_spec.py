"""ClickSpec: the `spec.json` of an interactive segmenter, a bundle of kind "clicks"; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from typing import Any

from colipri_core.model.click_config import ClickNetworkConfig
from colipri_core.model.config import check_keys
from colipri_core.model.spec import FORMAT_VERSION
from colipri_core.model.spec import STORAGES
from colipri_core.model.spec import card_of
from colipri_core.model.spec import check_document
from colipri_core.model.spec import check_storage
from colipri_core.provenance import ModelCard

CLICKS = "clicks"


@dataclass(frozen=True, kw_only=True)
class ClickSpec:
    """What a bundle of an interactive segmenter holds and how it is to be used.

    Attributes:
        name: Short name, such as "clicks".
        kind: Always "clicks".
        description: One or two sentences for people.
        architecture: Sizes of the network.
        region: Edge of the cube of voxels the network looks at in one pass.
        licence: Licence of the weights (SPDX identifier or name).
        training_data: One line on what the model was trained on.
        synthetic: Whether it was trained on generated data only.
        storage: Floating type of the weights in the file; left out of the document if "float32".
        files: File name -> SHA-256; filled in when a bundle is saved.
        format_version: Version of this document.
    """

    name: str
    kind: str = CLICKS
    description: str
    architecture: ClickNetworkConfig
    region: int
    licence: str
    training_data: str
    synthetic: bool
    storage: str = STORAGES[0]
    files: Mapping[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        """Refuse a document this version cannot honour."""
        check_document(kind=self.kind, kinds=(CLICKS,), format_version=self.format_version, files=self.files)
        check_storage(self.storage)
        if self.region < 1 or self.region % self.architecture.stride:
            msg = f"region must be a multiple of {self.architecture.stride}, got {self.region!r}"
            raise ValueError(msg)

    def card(self, sha256: str) -> ModelCard:
        """Return the model's identity.

        Args:
            sha256: Hash of the weights file.
        """
        return card_of(self, sha256)

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of plain JSON values that `from_json` reads back."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.storage == STORAGES[0]:
            del values["storage"]
        return {**values, "architecture": self.architecture.to_json(), "files": dict(self.files)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ClickSpec:
        """Read a dictionary written by `to_json`.

        Raises:
            ValueError: If a key is missing or unknown, at any level; the message names it.
            TypeError: If a value has the wrong type.
        """
        optional = {"storage"} - set(document)
        check_keys("spec", document, {f.name for f in fields(cls)} - optional)
        before_walks: dict[str, Any] = {"walks_hu": []}
        architecture = ClickNetworkConfig.from_json({**before_walks, **document["architecture"]})
        return cls(**{**document, "architecture": architecture})
