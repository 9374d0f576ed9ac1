"""BundleSpec: everything about a model that is not a weight, as the strict JSON of a bundle's `spec.json`.

Torch-free, so that a listing of models needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from typing import Any
from typing import Protocol

from colipri_core.model.config import ModelConfig
from colipri_core.model.config import check_keys
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.provenance import ModelCard
from colipri_core.vocabulary.structures import StructureConcept
from colipri_core.vocabulary.structures import concept

SPEC_FILE = "spec.json"
WEIGHTS_FILE = "model.safetensors"
HEAD_PREFIX = "structure_head."
"""Where the structure head's weights stand in the weights file."""

REPORT_PREFIX = "report_decoder."
"""Where the report decoder's weights stand in the weights file."""

PHRASE_PREFIX = "phrase_head."
"""Where the phrase head's weights stand in the weights file."""

FORMAT_VERSION = 1
KINDS = ("colipri",)

STORAGES = ("float32", "float16")
"""Floating types weights may be stored in; they are loaded as float32 whatever they are stored in."""

_SIZES = ("report", "phrases")
"""Parts of which the document has the sizes, if the bundle has the part."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class TextSpec:
    """How texts are brought to the text encoder.

    Attributes:
        max_length: Longest text in tokens, special tokens included.
        legacy_padding: Pool over padding, as the official package did before 0.1.3.
    """

    max_length: int = 512
    legacy_padding: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"max_length": self.max_length, "legacy_padding": self.legacy_padding}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TextSpec:
        """Read what `to_json` wrote; a ValueError names a wrong key."""
        check_keys("text", document, {"max_length", "legacy_padding"})
        return cls(**document)


@dataclass(frozen=True, kw_only=True)
class StructureSpec:
    """The structure head of a bundle.

    Attributes:
        names: Structures in channel order; the background has no name.
        config: The head's own configuration as JSON values.
        codes: Name -> code, such as "SCT:39607008", of structures the vocabulary does not know; left out of the
            document if empty.
    """

    names: tuple[str, ...]
    config: Mapping[str, Any]
    codes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse codes of structures the head does not have."""
        strangers = set(self.codes) - set(self.names)
        if strangers:
            msg = f"codes must belong to the structures {list(self.names)}, got {sorted(strangers)}"
            raise ValueError(msg)

    @property
    def concepts(self) -> tuple[StructureConcept, ...]:
        """The structures with codes and colours."""
        return tuple(concept(name, self.codes.get(name, ""), number) for number, name in enumerate(self.names))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        codes = {"codes": dict(self.codes)} if self.codes else {}
        return {"names": list(self.names), "config": dict(self.config), **codes}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> StructureSpec:
        """Read what `to_json` wrote; a ValueError names a wrong key."""
        check_keys("structures", document, {"names", "config"} | ({"codes"} & set(document)))
        return cls(names=tuple(document["names"]), config=document["config"], codes=dict(document.get("codes", {})))


@dataclass(frozen=True, kw_only=True)
class BundleSpec:
    """What a bundle holds and how it is to be used.

    Attributes:
        name: Short name, such as "tiny".
        kind: What the weights are; "colipri" is the vision-language encoder.
        description: One or two sentences for people.
        architecture: Sizes of the model.
        preprocessing: How a CT becomes a model input.
        window: Edge of an encoding window in voxels; None encodes the model grid in one pass.
        text: How texts are brought to the text encoder.
        vocabulary: Name of the list of findings the model is asked about by default, such as "ct-rate-18".
        calibration: Finding code -> (a, b) of the calibrated probability sigmoid(a * logit + b); None if uncalibrated.
        structures: The structure head, if there is one.
        report: Sizes of the report decoder as JSON values, if there is one; the key is left out of the document
            otherwise, as in documents older than the decoder.
        phrases: Sizes of the phrase head as JSON values, if there is one; left out of the document otherwise.
        licence: Licence of the weights (SPDX identifier or name).
        training_data: One line on what the model was trained on.
        synthetic: Whether it was trained on generated data only.
        storage: Floating type of the weights in the file, of `STORAGES`; left out of the document if "float32".
        files: File name -> SHA-256; filled in when a bundle is saved.
        format_version: Version of this document.
    """

    name: str
    kind: str = "colipri"
    description: str
    architecture: ModelConfig
    preprocessing: PreprocessSpec
    window: int | None = None
    text: TextSpec = TextSpec()
    vocabulary: str
    calibration: Mapping[str, tuple[float, float]] | None = None
    structures: StructureSpec | None = None
    report: Mapping[str, Any] | None = None
    phrases: Mapping[str, Any] | None = None
    licence: str
    training_data: str
    synthetic: bool
    storage: str = STORAGES[0]
    files: Mapping[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        """Refuse a document this version cannot honour."""
        check_document(kind=self.kind, kinds=KINDS, format_version=self.format_version, files=self.files)
        check_storage(self.storage)

    def card(self, sha256: str) -> ModelCard:
        """Return the model's identity.

        Args:
            sha256: Hash of the weights file.
        """
        return card_of(self, sha256)

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of plain JSON values that `from_json` reads back."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("architecture", "preprocessing", "text", "structures"):
            values[name] = values[name] and values[name].to_json()
        if self.calibration is not None:
            values["calibration"] = {code: list(pair) for code, pair in self.calibration.items()}
        for name in _SIZES:
            if values[name] is None:
                del values[name]
            else:
                values[name] = dict(values[name])
        if self.storage == STORAGES[0]:
            del values["storage"]
        return {**values, "files": dict(self.files)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> BundleSpec:
        """Read a dictionary written by `to_json`.

        Raises:
            ValueError: If a key is missing or unknown, at any level; the message names it.
            TypeError: If a value has the wrong type.
        """
        optional = {*_SIZES, "storage"} - set(document)
        check_keys("spec", document, {f.name for f in fields(cls)} - optional)
        values: dict[str, Any] = {**dict.fromkeys(_SIZES), **document}
        values["architecture"] = ModelConfig.from_json(document["architecture"])
        values["preprocessing"] = PreprocessSpec.from_json(document["preprocessing"])
        values["text"] = TextSpec.from_json(document["text"])
        if document["structures"] is not None:
            values["structures"] = StructureSpec.from_json(document["structures"])
        if document["calibration"] is not None:
            values["calibration"] = {code: (float(a), float(b)) for code, (a, b) in document["calibration"].items()}
        return cls(**values)


def check_storage(storage: object) -> None:
    """Refuse a storage this version does not know.

    Args:
        storage: What a document says.

    Raises:
        ValueError: If it is none of `STORAGES`.
    """
    if storage not in STORAGES:
        msg = f"storage must be one of {STORAGES}, got {storage!r}; update this package"
        raise ValueError(msg)


class Document(Protocol):
    """What the documents of all kinds of bundles say of a model."""

    @property
    def name(self) -> str:
        """Name of the bundle."""

    @property
    def kind(self) -> str:
        """What it is."""

    @property
    def training_data(self) -> str:
        """What it learned from, in words."""

    @property
    def synthetic(self) -> bool:
        """Whether all of that was generated."""

    @property
    def licence(self) -> str:
        """Licence of the weights."""


def card_of(document: Document, sha256: str) -> ModelCard:
    """Return the identity of the model that a bundle's document describes.

    Args:
        document: The document.
        sha256: Hash of the weights file.
    """
    return ModelCard(
        name=document.name,
        sha256=sha256,
        kind=document.kind,
        training_data=document.training_data,
        synthetic=document.synthetic,
        licence=document.licence,
    )


def check_document(*, kind: str, kinds: tuple[str, ...], format_version: object, files: Mapping[str, str]) -> None:
    """Refuse a bundle document this version cannot honour, of whatever kind.

    Args:
        kind: What the document says the weights are.
        kinds: What they may be.
        format_version: Version of the document.
        files: File name -> SHA-256.

    Raises:
        ValueError: Naming the field.
    """
    if format_version != FORMAT_VERSION:
        msg = f"format_version must be {FORMAT_VERSION}, got {format_version!r}; update this package"
        raise ValueError(msg)
    if kind not in kinds:
        msg = f"kind must be one of {kinds}, got {kind!r}"
        raise ValueError(msg)
    for name, digest in files.items():
        if "/" in name or "\\" in name or name.startswith(".") or not _SHA256.fullmatch(str(digest)):
            msg = f"files must map plain file names to SHA-256 hashes, got {name!r}: {digest!r}"
            raise ValueError(msg)
