"""A loaded bundle on its device: what the worker thread computes with. Nothing here is called from another thread."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import TypeVar

import torch
from torch import Tensor
from torch import nn

from colipri_core.errors import BundleError
from colipri_core.errors import CapabilityError
from colipri_core.inference.devices import choose_precision
from colipri_core.inference.devices import is_out_of_memory
from colipri_core.inference.texts import TextEmbedder
from colipri_core.model.bundle import Bundle
from colipri_core.progress import Reporter
from colipri_core.provenance import ModelCard
from colipri_core.provenance import Provenance
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS

if TYPE_CHECKING:
    from colipri_core.model.dense_bundle import DenseBundle
    from colipri_core.model.phrase_head import PhraseHead

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

VOCABULARIES = {"ct-rate-18": CT_RATE_FINDINGS}
"""Lists of findings a bundle's spec may name."""

_OUT_OF_MEMORY = (
    "The GPU {device} ran out of memory. The same model now runs on the CPU: the results are the same, only slower."
)


class ModelRuntime:
    """A model, where it runs and in which precision.

    Args:
        bundle: The loaded bundle.
        device: Where to run it.

    Raises:
        BundleError: If the bundle names a list of findings this version does not have.

    Attributes:
        bundle: As given.
        device: Where it runs now; the CPU after a GPU ran out of memory.
        precision: Floating type of the image encoder's blocks.
        notices: What a reader of the results must know of how they are computed.
    """

    def __init__(self, bundle: Bundle | DenseBundle, device: torch.device) -> None:
        if isinstance(bundle, Bundle) and bundle.spec.vocabulary not in VOCABULARIES:
            msg = (
                f'Expected one of the vocabularies {sorted(VOCABULARIES)} in the spec of "{bundle.spec.name}", '
                f'got "{bundle.spec.vocabulary}". Update this package, or export the model with a known vocabulary.'
            )
            raise BundleError(msg)
        self.bundle = bundle
        self.device = device
        self.notices: list[str] = []
        self.bundle.model.eval().requires_grad_(False)
        self.precision = torch.float32
        self._texts: TextEmbedder | None = None
        if isinstance(bundle, Bundle):
            self.precision = choose_precision(bundle.model.config, device)
            self._texts = TextEmbedder(bundle)
        self._head: nn.Module | None = None
        self._phrases: PhraseHead | None = None
        self._place(device)

    @property
    def card(self) -> ModelCard:
        """Identity of the model."""
        return self.bundle.card

    @property
    def findings(self) -> tuple[str, ...]:
        """Names of the findings the model is asked about by default; none without a text side."""
        return VOCABULARIES[self.bundle.spec.vocabulary] if isinstance(self.bundle, Bundle) else ()

    @property
    def has_texts(self) -> bool:
        """Whether the model reads texts."""
        return self._texts is not None

    @property
    def language(self) -> Bundle:
        """The bundle, for what needs its text side.

        Raises:
            CapabilityError: If it has none.
        """
        if isinstance(self.bundle, Bundle):
            return self.bundle
        raise self._no_texts()

    def check_texts(self) -> None:
        """Refuse early what needs a text side.

        Raises:
            CapabilityError: If the model has none.
        """
        if not self.has_texts:
            raise self._no_texts()

    def _no_texts(self) -> CapabilityError:
        msg = (
            f'The model "{self.bundle.spec.name}" encodes images and reads no text. Open one that does, such as "tiny".'
        )
        return CapabilityError(msg)

    @property
    def texts(self) -> TextEmbedder:
        """Embeds texts.

        Raises:
            CapabilityError: If the model reads none.
        """
        if self._texts is None:
            self._texts = TextEmbedder(self.language)
        return self._texts

    @property
    def precision_name(self) -> str:
        """Name of the precision, such as "float32"."""
        return str(self.precision).removeprefix("torch.")

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what computes."""
        names = ("napari-colipri", "torch", "numpy")
        return {"python": platform.python_version(), **{name: _version(name) for name in names}}

    def provenance(self, *, timings: Mapping[str, float], warnings: Iterable[str] = ()) -> Provenance:
        """Return what produced a result of this model.

        Args:
            timings: Step -> seconds.
            warnings: What the reader should know of the input.
        """
        return Provenance(
            model=self.card,
            preprocessing=self.bundle.spec.preprocessing.to_json(),
            versions=self.versions,
            device=str(self.device),
            precision=self.precision_name,
            timings=dict(timings),
            warnings=(*warnings, *self.notices),
        )

    def warm_up(self, report: Reporter) -> None:
        """Run every part once on the smallest input, so that the first question does not wait for it."""
        patch = self.bundle.model.patch_size
        image = torch.zeros(1, 1, *(2 * patch,) * 3)
        report(0.0, "Warming up the image encoder")
        grid = self.on_device(lambda: self.encode(image, Reporter()))
        self.on_device(lambda: self.pool(grid))
        if self.has_texts:
            report(0.5, "Warming up the text encoder")
            self.on_device(lambda: self.texts.embed(["warm up"], self.device))
        report(1.0, "Ready")

    def encode(self, image: Tensor, report: Reporter) -> Tensor:
        """Return the raw patch grid (1, C, x, y, z) of a prepared volume, on the CPU, in the encoder's precision."""
        images = image.to(self.device, self.precision)
        grid = self.bundle.model.image_features(images, self.bundle.spec.window, progress=report)
        return grid.cpu()

    def pool(self, grid: Tensor) -> Tensor:
        """Return the unit-length pooled embedding (E,) of a raw patch grid, float32, on the CPU."""
        pooled = self.bundle.model.project_and_pool(grid.to(self.device, torch.float32))
        return torch.nn.functional.normalize(pooled, dim=1)[0].cpu()

    def dense(self, grid: Tensor) -> Tensor:
        """Return the unit-length joint embedding (E, x, y, z) of every token, float32, on the CPU."""
        dense = self.bundle.model.dense(grid.to(self.device, torch.float32))
        return torch.nn.functional.normalize(dense, dim=1)[0].cpu()

    def structure_head(self) -> nn.Module:
        """Return the structure head on the model's device; the bundle builds it at the first call.

        Raises:
            BundleError: If its weights do not fit.
        """
        if self._head is None:
            head = self.bundle.structure_head
            assert head is not None, "asked for only where the spec has structures"
            self._head = head.eval().requires_grad_(False).to(self.device)
        return self._head

    def phrase_head(self) -> PhraseHead | None:
        """Return the phrase head on the model's device, if the model has one; built at the first call.

        Raises:
            BundleError: If its weights do not fit.
        """
        if self._phrases is None and (head := self.language.phrase_head) is not None:
            self._phrases = head.eval().requires_grad_(False).to(self.device)
        return self._phrases

    def on_device(self, work: Callable[[], Result]) -> Result:
        """Run `work`; if a GPU runs out of memory, move the model to the CPU, say so, and run it again.

        Args:
            work: Computes with this runtime's `device`; may be called twice.
        """
        try:
            return work()
        except RuntimeError as error:
            if self.device.type == "cpu" or not is_out_of_memory(error):
                raise
        notice = _OUT_OF_MEMORY.format(device=self.device)
        logger.warning(notice)
        self.notices.append(notice)
        with torch.inference_mode(mode=False):
            self._place(torch.device("cpu"))
        return work()

    def _place(self, device: torch.device) -> None:
        """Move the model; the backbone in `precision`, the light parts in float32."""
        previous, self.device = self.device, device
        self.bundle.model.to(device)
        if isinstance(self.bundle, Bundle):
            self.bundle.model.image_encoder.backbone.to(self.precision)
            if self.bundle.report_decoder is not None:
                self.bundle.report_decoder.requires_grad_(False).to(device)
        for head in (self._head, self._phrases):
            if head is not None:
                head.to(device)
        if previous.type == "cuda":
            torch.cuda.empty_cache()


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
