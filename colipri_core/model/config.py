"""ModelConfig: the sizes of a COLIPRI model, as frozen dataclasses that a bundle's spec stores as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from typing import Any
from typing import Self

ROPE_AXES = 3
ROPE_MULTIPLE = 2 * ROPE_AXES


_LATER = "later"


def later(default: Any) -> Any:
    """A dataclass field that documents written before it was added lack, and that is its default there."""
    return field(default=default, metadata={_LATER: True})


def with_later(kind: type, document: Any) -> Any:
    """Return a decoded JSON object with the `later` fields of a dataclass where it lacks them."""
    if not isinstance(document, Mapping):
        return document
    return {entry.name: entry.default for entry in fields(kind) if _LATER in entry.metadata} | dict(document)


class JsonConfig:
    """Strict conversion of a flat dataclass to and from plain JSON values."""

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of plain JSON values that ``from_json`` reads back."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read a dictionary written by ``to_json``.

        Raises:
            ValueError: If a key is missing or unknown (named in the message), or a size is impossible.
        """
        known = with_later(cls, document)
        check_keys(cls.__name__, known, {f.name for f in fields(cls)})  # type: ignore[arg-type]
        return cls(**known)


@dataclass(frozen=True, kw_only=True)
class ImageEncoderConfig(JsonConfig):
    """Sizes of the image encoder; the defaults are the published ones ("Primus-M" with patch 8).

    Attributes:
        in_channels: Channels of the input volume.
        patch_size: Edge of the cubic patch that becomes one token, in voxels.
        width: Channels of a token inside the transformer.
        depth: Number of blocks.
        heads: Attention heads; ``width / heads`` must be a multiple of 6 (two per axis for the rotary table).
        mlp_ratio: Hidden width of the SwiGLU over ``width``.
        layer_scale: Initial value of the residual scales.
        drop_path: Stochastic depth of the last block; grows linearly from 0 at the first.
        embed_dim: Channels of the joint image-text space.
        intensity_ramps: Ranges (low, high) of the model's input; each makes a channel that rises from 0 at low to 1
            at high, and the patch embedding reads these channels in place of the intensities (our addition: a short
            training then need not find the windows of a reading room by itself). Empty, as published: the
            intensities themselves.
        stem: Convolutions over the volume, each of which halves it until a voxel is a token: their channels, and how
            many residual units follow each. What they see is added to the patch's embedding (our addition: a linear
            map alone is slow to find things much smaller than a patch). Empty, as published: none.
        stem_maps: Maps that the stem draws at half the volume's resolution, and sums up for each token; 0 for none.
    """

    in_channels: int = 1
    patch_size: int = 8
    width: int = 864
    depth: int = 16
    heads: int = 12
    mlp_ratio: float = 8 / 3
    layer_scale: float = 0.1
    drop_path: float = 0.2
    embed_dim: int = 768
    intensity_ramps: tuple[tuple[float, float], ...] = ()
    stem: tuple[tuple[int, int], ...] = later(())
    stem_maps: int = later(0)

    def __post_init__(self) -> None:
        """Refuse sizes no encoder can have."""
        check_positive(self, ("in_channels", "patch_size", "width", "depth", "heads", "embed_dim"))
        object.__setattr__(self, "intensity_ramps", tuple((low, high) for low, high in self.intensity_ramps))
        if any(low >= high for low, high in self.intensity_ramps):
            msg = f"an intensity ramp must rise from low to high, got {self.intensity_ramps}"
            raise ValueError(msg)
        pairs = all(isinstance(stage, (list, tuple)) and len(stage) == 2 for stage in self.stem)
        unfit = not pairs or any(channels < 1 or units < 0 for channels, units in self.stem)
        if unfit or (self.stem and self.patch_size != 1 << len(self.stem)):
            msg = (
                f"stem must hold channels and residual units, a pair for each halving of a patch of {self.patch_size} "
                f"voxels, got {self.stem}"
            )
            raise ValueError(msg)
        object.__setattr__(self, "stem", tuple((channels, units) for channels, units in self.stem))
        if self.stem_maps < 0 or (self.stem_maps and not self.stem):
            msg = f"stem_maps must be 0, or the number of maps of a stem, got {self.stem_maps} for {self.stem}"
            raise ValueError(msg)
        if self.width % self.heads or self.head_dim % ROPE_MULTIPLE:
            msg = (
                f"width / heads must be a multiple of {ROPE_MULTIPLE} for the 3D rotary embedding, "
                f"got {self.width} / {self.heads}"
            )
            raise ValueError(msg)

    @property
    def embedded_channels(self) -> int:
        """Channels that the patch embedding reads."""
        return self.in_channels * max(1, len(self.intensity_ramps))

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.width // self.heads

    @property
    def hidden(self) -> int:
        """Hidden channels of the SwiGLU."""
        return int(self.width * self.mlp_ratio)


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig(JsonConfig):
    """Sizes of the BERT text encoder; the defaults are those of CXR-BERT, which the published model uses.

    Attributes:
        vocab_size: Number of word pieces.
        hidden: Channels of a token; equals the image side's ``embed_dim``, as there is no text projector.
        layers: Number of transformer layers.
        heads: Attention heads of a layer.
        intermediate: Hidden channels of a layer's feed-forward part.
        max_length: Longest text in tokens.
        dropout: Dropout of hidden states and attention during training (BERT's default).
    """

    vocab_size: int = 30522
    hidden: int = 768
    layers: int = 12
    heads: int = 12
    intermediate: int = 3072
    max_length: int = 512
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse sizes no encoder can have."""
        check_positive(self, ("vocab_size", "hidden", "layers", "heads", "intermediate", "max_length"))
        if self.hidden % self.heads:
            msg = f"hidden must be a multiple of heads, got {self.hidden} and {self.heads}"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True)
class ModelConfig(JsonConfig):
    """Sizes of the whole model.

    Attributes:
        image: The image encoder.
        text: The text encoder.
        pooler_heads: Attention heads of the image pooler and of the text pooler.
        pooler_peaks: Directions along which the image pooler is told the strongest token (our addition); as published
            none.
    """

    image: ImageEncoderConfig
    text: TextEncoderConfig
    pooler_heads: int = 12
    pooler_peaks: int = later(0)

    def __post_init__(self) -> None:
        """Refuse encoders that cannot share one embedding space."""
        check_positive(self, ("pooler_heads",))
        if self.pooler_peaks < 0:
            msg = f"ModelConfig.pooler_peaks must not be negative, got {self.pooler_peaks}"
            raise ValueError(msg)
        if self.image.embed_dim != self.text.hidden:
            msg = (
                "image.embed_dim and text.hidden must be equal (the text side has no projector), "
                f"got {self.image.embed_dim} and {self.text.hidden}"
            )
            raise ValueError(msg)
        if self.image.embed_dim % self.pooler_heads:
            msg = f"embed_dim {self.image.embed_dim} must be a multiple of pooler_heads {self.pooler_heads}"
            raise ValueError(msg)

    @classmethod
    def published(cls) -> ModelConfig:
        """Return the sizes of the released COLIPRI model: 258,366,240 parameters."""
        return cls(image=ImageEncoderConfig(), text=TextEncoderConfig())

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ModelConfig:
        """Read a dictionary written by ``to_json``.

        Raises:
            ValueError: If a key is missing or unknown (named in the message), or a size is impossible.
        """
        known = with_later(cls, document)
        check_keys(cls.__name__, known, {f.name for f in fields(cls)})
        return cls(
            image=ImageEncoderConfig.from_json(known["image"]),
            text=TextEncoderConfig.from_json(known["text"]),
            pooler_heads=known["pooler_heads"],
            pooler_peaks=known["pooler_peaks"],
        )


def check_patch_size(patch_size: int) -> None:
    """Refuse patches that no decoder halves its way down to.

    Raises:
        ValueError: If the edge is no power of two of at least 4.
    """
    if patch_size < 4 or patch_size & (patch_size - 1):
        msg = f"patch_size must be a power of two of at least 4, got {patch_size}"
        raise ValueError(msg)


def check_keys(name: str, document: Any, expected: set[str]) -> None:
    """Refuse a JSON object whose keys are not exactly the expected ones.

    Args:
        name: What the object describes, for the message.
        document: The decoded JSON object.
        expected: The keys it must have.

    Raises:
        ValueError: Naming the missing and the unknown keys.
    """
    if not isinstance(document, Mapping):
        msg = f"{name} must be a JSON object, got {type(document).__name__}"
        raise ValueError(msg)
    missing, unknown = sorted(expected - set(document)), sorted(set(document) - expected)
    if missing or unknown:
        msg = f"{name} has wrong keys: missing {missing}, unknown {unknown}"
        raise ValueError(msg)


def check_positive(config: object, names: tuple[str, ...]) -> None:
    """Refuse a config whose named fields are not whole numbers of at least 1.

    Raises:
        ValueError: Naming the field.
    """
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or value < 1:
            msg = f"{type(config).__name__}.{name} must be a positive whole number, got {value!r}"
            raise ValueError(msg)
