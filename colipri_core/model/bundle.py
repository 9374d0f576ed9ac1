"""Bundles: a model as a folder of `spec.json`, `model.safetensors` and `tokenizer.json`.

A bundle is opened by folder, by the name of one that ships with this package, or by hub id. Reading is strict: hashes
are verified, a missing or unexpected key is an error that names it, a pickle is refused. Writing is atomic: the folder
appears complete or not at all. The weights of the optional parts stand in the same file: the structure head's under
`structure_head.`, the report decoder's under `report_decoder.`, the phrase head's under `phrase_head.`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from colipri_core.errors import BundleError
from colipri_core.errors import ModelUnavailableError
from colipri_core.model.click_spec import CLICKS
from colipri_core.model.click_spec import ClickSpec
from colipri_core.model.colipri import ColipriModel
from colipri_core.model.dense_spec import DENSE
from colipri_core.model.dense_spec import DenseSpec
from colipri_core.model.export import save_bundle
from colipri_core.model.report_decoder import ReportDecoder
from colipri_core.model.report_decoder import ReportDecoderConfig
from colipri_core.model.spec import HEAD_PREFIX
from colipri_core.model.spec import KINDS
from colipri_core.model.spec import PHRASE_PREFIX
from colipri_core.model.spec import REPORT_PREFIX
from colipri_core.model.spec import SPEC_FILE
from colipri_core.model.spec import WEIGHTS_FILE
from colipri_core.model.spec import BundleSpec
from colipri_core.model.spec import StructureSpec
from colipri_core.model.tokenizer import TOKENIZER_FILE
from colipri_core.model.tokenizer import load_tokenizer
from colipri_core.model.weights import file_sha256
from colipri_core.model.weights import load_strictly
from colipri_core.model.weights import read_weights
from colipri_core.model.weights import refuse_pickle
from colipri_core.model.weights import unpack
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.provenance import ModelCard

if TYPE_CHECKING:
    from colipri_core.model.dense_bundle import DenseBundle
    from colipri_core.model.phrase_head import PhraseHead
    from colipri_core.model.structure_head import StructureHead

__all__ = ["Bundle", "load_bundle", "read_spec", "save_bundle", "shipped_bundles"]

_SPECS: dict[str, type[BundleSpec | ClickSpec | DenseSpec]] = {CLICKS: ClickSpec, DENSE: DenseSpec}
SHIPPED = Path(__file__).resolve().parents[1] / "bundles"


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """A loaded model with everything needed to use it.

    Attributes:
        spec: What it is and how a CT and a text are brought to it.
        model: The encoder, in evaluation mode.
        tokenizer: Texts to word-piece ids.
        sha256: Hash of the weights file.
        build_head: Makes the structure head; None if the bundle has none.
        report_decoder: Writes reports, in evaluation mode; None if the bundle has none.
        build_phrases: Makes the phrase head; None if the bundle has none.
    """

    spec: BundleSpec
    model: ColipriModel
    tokenizer: PreTrainedTokenizerFast
    sha256: str
    build_head: Callable[[], StructureHead] | None = None
    report_decoder: ReportDecoder | None = None
    build_phrases: Callable[[], PhraseHead] | None = None

    @functools.cached_property
    def structure_head(self) -> StructureHead | None:
        """Outlines structures, if the bundle has one.

        Raises:
            BundleError: If its weights or sizes do not fit; only after a lazy load, any other has raised it already.
        """
        return None if self.build_head is None else self.build_head()

    @functools.cached_property
    def phrase_head(self) -> PhraseHead | None:
        """Outlines what a phrase names, if the bundle has one; built at the first use, on the CPU.

        Raises:
            BundleError: If its weights or sizes do not fit.
        """
        return None if self.build_phrases is None else self.build_phrases()

    @property
    def card(self) -> ModelCard:
        """The identity shown beside every number."""
        return self.spec.card(self.sha256)


def load_bundle(
    source: str | Path,
    *,
    device: str | torch.device = "cpu",
    lazy_head: bool = False,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> Bundle:
    """Open a bundle.

    Args:
        source: Bundle folder, name of a shipped bundle, or hub id such as "microsoft/colipri".
        device: Where the weights go.
        lazy_head: Build the structure head at its first use, on the CPU: it imports MONAI, which takes seconds.
        progress: Receives (fraction, message) of download and loading.
        cancel: Cancels the download or loading.

    Raises:
        ModelUnavailableError: If there is no such bundle, or it cannot be fetched.
        BundleError: If spec, hash, key or shape does not fit.
        UnsafeCheckpointError: If the weights are a pickle.
        Cancelled: If `cancel` was set.
    """
    report = Reporter(progress, cancel)
    folder = resolve_folder(source)
    if folder is None:
        from colipri_core.model.hub import load_from_hub

        bundle = load_from_hub(str(source), report=report)
    else:
        bundle = read_bundle(folder, report)
    bundle.model.to(device)
    if bundle.report_decoder is not None:
        bundle.report_decoder.to(device)
    if not lazy_head and bundle.structure_head is not None:
        bundle.structure_head.to(device)
    report(1.0, f"{bundle.spec.name} is loaded")
    return bundle


def load_any_bundle(
    source: str | Path,
    *,
    lazy_head: bool = False,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> Bundle | DenseBundle:
    """Open a bundle that encodes volumes, with a text side or without, onto the CPU.

    Args:
        source: Bundle folder, name of a shipped bundle, or hub id.
        lazy_head: Build the structure head at its first use; that of a dense encoder always is.
        progress: Receives (fraction, message) of download and loading.
        cancel: Cancels the download or loading.

    Raises:
        ModelUnavailableError: If there is no such bundle, or it cannot be fetched.
        BundleError: If spec, hash, key or shape does not fit, or it encodes no volumes.
        UnsafeCheckpointError: If the weights are a pickle.
        Cancelled: If `cancel` was set.
    """
    folder = resolve_folder(source, shipped=[*shipped_bundles(), *shipped_bundles(DENSE)])
    if folder is None or not isinstance(read_any_spec(folder), DenseSpec):
        return load_bundle(source, lazy_head=lazy_head, progress=progress, cancel=cancel)
    from colipri_core.model.dense_bundle import load_dense_bundle  # its networks are MONAI's, which takes seconds

    return load_dense_bundle(folder, report=Reporter(progress, cancel))


def resolve_folder(source: str | Path, *, shipped: Sequence[str] | None = None) -> Path | None:
    """Return the folder of a local or shipped bundle, or None if `source` is a hub id.

    Args:
        source: What the caller asked for.
        shipped: Names that mean shipped bundles; those of the shipped encoders if omitted.

    Raises:
        ModelUnavailableError: If it is neither; the message lists the shipped bundles.
        UnsafeCheckpointError: If it is a pickle file.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        refuse_pickle(path)
        msg = f"Expected a bundle folder, got the file {path}. Pass the folder that holds {SPEC_FILE}."
        raise BundleError(msg)
    names = shipped_bundles() if shipped is None else shipped
    if str(source) in names:
        return SHIPPED / str(source)
    if isinstance(source, str) and source.split("@")[0].count("/") == 1 and not source.startswith((".", "/", "~")):
        return None
    msg = (
        f"Expected a bundle folder, a hub id (owner/name) or one of the shipped bundles {list(names)}, "
        f"found no such model: {source}."
    )
    raise ModelUnavailableError(msg)


def shipped_bundles(kind: str | None = "colipri") -> list[str]:
    """Return the names of the bundles that ship with this package.

    Args:
        kind: Which: encoders ("colipri"), interactive segmenters ("clicks"), image encoders without a text side
            ("dense"), or None for all.
    """
    found = sorted(path.parent for path in SHIPPED.glob(f"*/{SPEC_FILE}"))
    return [folder.name for folder in found if kind in (None, read_any_spec(folder).kind)]


def read_spec(folder: Path) -> BundleSpec:
    """Read the spec of an encoder's bundle.

    Raises:
        UnsafeCheckpointError: If the folder holds a pickle checkpoint and no spec.
        BundleError: If the spec is missing or wrong, naming the key, or is of another kind of bundle.
    """
    spec = read_any_spec(folder)
    if isinstance(spec, BundleSpec):
        return spec
    opener = "load_dense_bundle" if isinstance(spec, DenseSpec) else "load_segmenter"
    msg = f'Expected a bundle of kind "colipri" in {folder}, got kind "{spec.kind}". Open it with {opener}.'
    raise BundleError(msg)


def read_any_spec(folder: Path) -> BundleSpec | ClickSpec | DenseSpec:
    """Read the spec of a bundle of any kind; errors as `read_spec`."""
    path = folder / SPEC_FILE
    if not path.is_file():
        for other in sorted(folder.iterdir()):
            if other.is_file():
                refuse_pickle(other)
        msg = f"Expected {SPEC_FILE} in {folder}, found none. Pass a folder written by export."
        raise BundleError(msg)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        kind = document.get("kind") if isinstance(document, dict) else None
        if kind is not None and kind not in (known := (*KINDS, *_SPECS)):
            msg = f"kind must be one of {', '.join(known)}, got {kind!r}"
            raise ValueError(msg)
        return _SPECS.get(str(kind), BundleSpec).from_json(document)
    except (ValueError, TypeError, KeyError) as error:
        msg = f"Expected a bundle spec in {path}, got a wrong one: {error}. Export the model again."
        raise BundleError(msg) from error


def read_bundle(folder: Path, report: Reporter) -> Bundle:
    """Read and verify a bundle folder onto the CPU."""
    report(0.0, f"Reading {folder.name}")
    spec = read_spec(folder)
    verify_files(folder, spec.files, needed=(WEIGHTS_FILE, TOKENIZER_FILE))
    report(0.3, f"Loading {spec.name}")
    weights = unpack(read_weights(folder / WEIGHTS_FILE), spec.storage, source=WEIGHTS_FILE)
    tokenizer = load_tokenizer(folder)
    return build_bundle(spec, weights, tokenizer, sha256=spec.files[WEIGHTS_FILE])


def verify_files(folder: Path, files: Mapping[str, str], *, needed: Sequence[str]) -> None:
    """Refuse a bundle whose files are not the ones its spec was written for.

    Args:
        folder: The bundle.
        files: File name -> SHA-256, as the spec has it.
        needed: Names of the files it cannot do without.

    Raises:
        BundleError: Naming the file and both hashes.
        UnsafeCheckpointError: If a file is a pickle.
    """
    for name in sorted({*needed, *files}):
        path = folder / name
        if name not in files or not path.is_file():
            where = "in the spec's files" if path.is_file() else f"in {folder}"
            msg = f"Expected {name} {where}, found none. Export or fetch the bundle again."
            raise BundleError(msg)
        refuse_pickle(path)
        if (found := file_sha256(path)) != files[name]:
            msg = (
                f"Expected SHA-256 {files[name]} for {path}, found {found}: the file was changed or damaged. "
                "Export or fetch the bundle again."
            )
            raise BundleError(msg)


def build_bundle(
    spec: BundleSpec, weights: dict[str, Tensor], tokenizer: PreTrainedTokenizerFast, *, sha256: str
) -> Bundle:
    """Put weights into fresh modules, strictly.

    Raises:
        BundleError: If a key or shape does not fit, or the tokenizer has more word pieces than the text encoder.
    """
    if len(tokenizer) > spec.architecture.text.vocab_size:
        msg = (
            f"Expected at most {spec.architecture.text.vocab_size} word pieces, the tokenizer has {len(tokenizer)}. "
            "Use the tokenizer the model was trained with."
        )
        raise BundleError(msg)
    own, of_head, of_decoder, of_phrases = _apart(weights, spec)
    build_head = None if spec.structures is None else functools.partial(build_structure_head, spec.structures, of_head)
    model = ColipriModel(spec.architecture).eval()
    load_strictly(model, own, source=WEIGHTS_FILE)
    return Bundle(
        spec=spec,
        model=model,
        tokenizer=tokenizer,
        sha256=sha256,
        build_head=build_head,
        report_decoder=None if spec.report is None else _build_decoder(spec, of_decoder),
        build_phrases=None if spec.phrases is None else functools.partial(_build_phrase_head, spec, of_phrases),
    )


def _apart(weights: Mapping[str, Tensor], spec: BundleSpec) -> tuple[dict[str, Tensor], ...]:
    """Weights of the encoder and of the optional parts; a part the spec lacks keeps its prefix."""
    own = dict(weights)
    parts = []
    optional = ((HEAD_PREFIX, spec.structures), (REPORT_PREFIX, spec.report), (PHRASE_PREFIX, spec.phrases))
    for prefix, part in optional:
        names = [name for name in own if part is not None and name.startswith(prefix)]
        parts.append({name.removeprefix(prefix): own.pop(name) for name in names})
    return own, *parts


def _build_decoder(spec: BundleSpec, weights: dict[str, Tensor]) -> ReportDecoder:
    assert spec.report is not None
    try:
        config = ReportDecoderConfig.from_json(spec.report)
    except (ValueError, TypeError) as error:
        msg = f"Expected the report decoder's sizes in the spec, got wrong ones: {error}. Export the model again."
        raise BundleError(msg) from error
    own = (spec.architecture.image.width, spec.architecture.text.vocab_size)
    if (config.memory_width, config.vocab_size) != own:
        msg = (
            f"Expected a report decoder for tokens of width {own[0]} and {own[1]} word pieces, "
            f"found {config.memory_width} and {config.vocab_size}. Export the model again."
        )
        raise BundleError(msg)
    decoder = ReportDecoder(config).eval()
    load_strictly(decoder, weights, source=f"{WEIGHTS_FILE} ({REPORT_PREFIX})")
    return decoder


def _build_phrase_head(spec: BundleSpec, weights: dict[str, Tensor]) -> PhraseHead:
    from colipri_core.model.phrase_head import PhraseHead
    from colipri_core.model.phrase_head import PhraseHeadConfig

    assert spec.phrases is not None
    image = spec.architecture.image
    try:
        config = PhraseHeadConfig.from_json(spec.phrases)
    except (ValueError, TypeError) as error:
        msg = f"Expected the phrase head's sizes in the spec, got wrong ones: {error}. Export the model again."
        raise BundleError(msg) from error
    own = (image.width, image.patch_size, image.embed_dim)
    if (config.token_width, config.patch_size, config.embed_dim) != own:
        msg = f"Expected a phrase head for (token width, patch, joint space) {own}, found {config}. Export it again."
        raise BundleError(msg)
    head = PhraseHead(config).eval()
    load_strictly(head, weights, source=f"{WEIGHTS_FILE} ({PHRASE_PREFIX})")
    return head


def build_structure_head(spec: StructureSpec, weights: dict[str, Tensor]) -> StructureHead:
    """Make a structure head and load its weights, strictly; it imports MONAI, which takes seconds.

    Raises:
        BundleError: If its sizes or weights do not fit.
    """
    from colipri_core.model.structure_head import StructureHead
    from colipri_core.model.structure_head import StructureHeadConfig

    try:
        config = StructureHeadConfig.from_json(spec.config)
    except (ValueError, TypeError) as error:
        msg = f"Expected the structure head's sizes in the spec, got wrong ones: {error}. Export the model again."
        raise BundleError(msg) from error
    if config.structures != spec.names:
        msg = f"Expected the structures {spec.names} in the head's sizes too, found {config.structures}."
        raise BundleError(msg)
    head = StructureHead(config).eval()
    load_strictly(head, weights, source=f"{WEIGHTS_FILE} ({HEAD_PREFIX})")
    return head
