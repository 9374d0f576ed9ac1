"""T3DConfig: everything that decides a T3D pretraining; we could read no value of its paper, so all are our choice."""

from __future__ import annotations

import dataclasses
import math
from typing import Any
from typing import Literal

from colipri_core.model.config import TextEncoderConfig
from colipri_core.model.encoder_config import EncoderConfig
from colipri_training.checks import at_least
from colipri_training.checks import at_most
from colipri_training.checks import expect
from colipri_training.checks import multiples
from colipri_training.config import RunConfig
from colipri_training.data.corruption import Corruption
from colipri_training.data.sentences import ReportTextOptions
from colipri_training.data.variation import Variation
from colipri_training.data.views import SubVolumes
from colipri_training.data.views import Views
from colipri_training.encoders.sizes import deepest_channels
from colipri_training.encoders.sizes import deepest_stride
from colipri_training.encoders.sizes import smallest_convolved

_WHOLE_REPORT = ReportTextOptions(one_section=0.0, shuffle=0.5, shorten=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class T3DData:
    """What a run sees of prepared data sets; only scans with a report take part, also where the report goes unread.

    Args:
        batch_size: Scans of a step.
        crop: Voxels of a sub-volume, multiples of the encoder's deepest stride.
        validation_cases: Most scans that validation takes.
        views: Sub-volumes of a scan.
        corruption: What restoration must undo.
        variation: How sub-volumes are turned, scaled and shifted in intensity; none is mirrored.
        text: How a report becomes the text of one step; by default all of it, its sentences in random order.
        max_report_length: Report length in word pieces.
        sentences: Sentences of a report that guide local features.
        max_sentence_length: Sentence length in word pieces.
        sources: Folders that `colipri-train prepare` filled.
    """

    batch_size: int
    crop: tuple[int, int, int]
    validation_cases: int = 64
    views: Views = dataclasses.field(default_factory=Views)
    corruption: Corruption = dataclasses.field(default_factory=Corruption)
    variation: Variation = dataclasses.field(default_factory=Variation)
    text: ReportTextOptions = _WHOLE_REPORT
    max_report_length: int = 512
    sentences: int = 4
    max_sentence_length: int = 96
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse numbers and lengths that are none; [CLS] and [SEP] alone are two word pieces."""
        at_least(self, 1, "batch_size")
        at_least(self, 0, "validation_cases", "sentences")
        at_least(self, 2, "max_report_length", "max_sentence_length")


@dataclasses.dataclass(frozen=True, kw_only=True)
class T3DLoss:
    """Weights of the objectives; 0 leaves one out.

    Args:
        contrast: Sub-volumes of one scan are alike, given its report.
        restoration: A corrupted sub-volume is restored, given the report.
        consistency: What a sentence of the report finds in one sub-volume, it finds in the others.
        temperature: Initial temperature of both contrasts; learned.
    """

    contrast: float = 1.0
    restoration: float = 1.0
    consistency: float = 0.0
    temperature: float = 0.1

    def __post_init__(self) -> None:
        """Refuse weights and temperatures that are none."""
        at_least(self, 0, "contrast", "restoration", "consistency")
        expect("temperature", self.temperature, "above 0, and finite", fits=0 < self.temperature < math.inf)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """How image features attend to the report, and what is made of them.

    Args:
        layers: Layers of cross-attention.
        heads: Attention heads; they divide the encoder's deepest channels.
        hidden: Hidden width of a layer's feed-forward part over its width.
        pooled: Deepest features are averaged to at most so many along each axis before a contrast.
        embed_dim: Channels of the vectors that are contrasted.
        places: Whether restoration knows where in the body a feature lies; else "in the left lower lobe" tells nothing
            of a sub-volume that hardly shows where it is. A contrast is never told: places alone would solve it.
        decoder: Channels of the restoration decoder's shallowest level, a multiple of 8; twice as many a level deeper.
        decoder_limit: Most channels of a level.
    """

    layers: int = 2
    heads: int = 8
    hidden: int = 4
    pooled: int = 2
    embed_dim: int = 256
    places: bool = True
    decoder: int = 32
    decoder_limit: int = 256

    def __post_init__(self) -> None:
        """Refuse sizes no network can have."""
        at_least(self, 0, "layers", "hidden")
        at_least(self, 1, "heads", "pooled", "embed_dim", "decoder", "decoder_limit")


@dataclasses.dataclass(frozen=True, kw_only=True)
class T3DConfig(RunConfig):
    """A T3D pretraining.

    Args:
        encoder: Sizes of the image encoder; their class decides which one it is.
        text: Sizes of the text encoder. `optimizer.text_share` slows it down, and freezes it at 0.
        data: The scans.
        loss: The objectives.
        fusion: Sizes of all that is trained around the encoders, and not shipped.
        conditioning: "report", or "null": a learned token in its place, the twin that differs in nothing else.
        negatives: What the negatives of a contrast have been told: "same_report", the anchor's, so that the text
            alone tells nothing apart; or "own_report", each its own, which the text alone can solve.
    """

    encoder: EncoderConfig
    text: TextEncoderConfig
    data: T3DData
    loss: T3DLoss = T3DLoss()
    fusion: FusionConfig = FusionConfig()
    conditioning: Literal["report", "null"] = "report"
    negatives: Literal["same_report", "own_report"] = "same_report"

    def __post_init__(self) -> None:
        """Refuse objectives that exclude one another or lack what they need, and parts that do not fit one another."""
        super().__post_init__()
        self._check_objectives()
        multiples("data.crop", self.data.crop, deepest_stride(self.encoder), "the encoder's deepest stride")
        width, heads = deepest_channels(self.encoder), self.fusion.heads
        expect("fusion.heads", heads, f"a divisor of the encoder's {width} deepest channels", fits=width % heads == 0)
        if self.conditioning == "report":
            most = self.text.max_length
            at_most("data.max_report_length", self.data.max_report_length, most, "text.max_length")
            if self.loss.consistency:
                at_most("data.max_sentence_length", self.data.max_sentence_length, most, "text.max_length")
                expect("data.sentences", self.data.sentences, "at least 1", fits=self.data.sentences > 0)
        if self.loss.restoration:
            multiples("fusion.decoder", (self.fusion.decoder, self.fusion.decoder_limit), 8, "groups of channels")
            self.data.corruption.check_fits(min(self.data.crop))

    def _check_objectives(self) -> None:
        if not (self.loss.contrast or self.loss.restoration or self.loss.consistency):
            msg = "one of loss.contrast, loss.restoration and loss.consistency must have a weight, got 0 for all"
            raise ValueError(msg)
        if (self.loss.contrast or self.loss.consistency) and self.data.views.count < 2:
            msg = f"a contrast needs data.views.count of at least 2, got {self.data.views.count}"
            raise ValueError(msg)
        if self.loss.consistency and self.conditioning == "null":
            msg = 'loss.consistency asks sentences of the report, so conditioning must be "report", got "null"'
            raise ValueError(msg)
        if self.compute.micro_batch and (self.loss.contrast or self.loss.consistency):
            msg = (
                "a contrast looks at the whole batch at once: set compute.micro_batch=0 and, for memory, "
                f"compute.activation_checkpointing=true, got micro_batch={self.compute.micro_batch}"
            )
            raise ValueError(msg)

    @property
    def vocab_size(self) -> int:
        """See `RunConfig`."""
        return self.text.vocab_size

    @property
    def sub_volumes(self) -> SubVolumes:
        """What is read of a scan: one sub-volume where nothing is compared, corrupted too where it is restored."""
        views = self.data.views if self.contrasts else dataclasses.replace(self.data.views, count=1)
        return SubVolumes(views=views, corruption=self.data.corruption if self.loss.restoration else None)

    @property
    def smallest_convolved(self) -> int | None:
        """See `RunConfig`."""
        return smallest_convolved(self.encoder, min(self.data.crop), decoded=self.loss.restoration > 0)

    @property
    def contrasts(self) -> bool:
        """Whether scans are compared with one another."""
        return bool(self.loss.contrast or self.loss.consistency)


def is_t3d(document: Any) -> bool:
    """Whether a config's JSON is of a T3D run."""
    return isinstance(document, dict) and "encoder" in document
