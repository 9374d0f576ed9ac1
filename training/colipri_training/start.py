"""What a run starts from: the weights and the tokenizer of a bundle, those of a BERT for the text side, or none.

Encoders are taken over whole or not at all: a key that is missing, or of another shape, is an error that names it. What
a bundle lacks (decoders, a stem) starts fresh, and the log says so.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import nn

from colipri_core.errors import BundleError
from colipri_core.io.atomic import write_json
from colipri_core.model.bundle import Bundle
from colipri_core.model.bundle import load_bundle
from colipri_core.model.bundle import resolve_folder
from colipri_core.model.download import Repository
from colipri_core.model.download import fetch
from colipri_core.model.encoder import ImageEncoder
from colipri_core.model.hub import VOCABULARY
from colipri_core.model.tokenizer import VOCABULARY_FILE
from colipri_core.model.tokenizer import load_tokenizer
from colipri_core.model.tokenizer import save_tokenizer
from colipri_core.model.weights import file_sha256
from colipri_core.model.weights import load_strictly
from colipri_core.model.weights import read_weights
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.progress import Reporter
from colipri_training.checkpoints import CheckpointError
from colipri_training.checkpoints import read_document
from colipri_training.config import PretrainConfig
from colipri_training.config import RunConfig
from colipri_training.config_json import build
from colipri_training.encoders import load_encoder
from colipri_training.network import PretrainNetwork
from colipri_training.t3d.config import T3DConfig
from colipri_training.t3d.network import T3DNetwork

logger = logging.getLogger(__name__)

START_FILE = "start.json"
_WEIGHTS_FILE = "model.safetensors"
_BERT_PREFIXES = ("bert.", "text_encoder.backbone.")
"""Of a BERT as hubs hold it, and of that within a COLIPRI bundle."""
_STEM_PREFIX = "backbone.down_projection.stem."
_PEAKS = ("pooler.directions", "pooler.weight", "pooler.typical")
_WORDS = "embeddings.word_embeddings.weight"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """Where the weights of a run come from.

    Args:
        source: Bundle folder, shipped bundle, or hub id.
        sha256: Of the weights file.
        vocab_size: Word pieces that the text encoder has room for.
        synthetic: Whether they were trained on generated data only.
    """

    source: str
    sha256: str
    vocab_size: int
    synthetic: bool


def read_start(folder: Path) -> Start | None:
    """What `provide` noted in the folder of a run; None if its weights start random.

    Raises:
        CheckpointError: If the note is damaged.
    """
    path = folder / START_FILE
    if not path.is_file():
        return None
    try:
        return build(Start, read_document(path))
    except ValueError as error:
        msg = f"Expected a note of what the run started from in {path}, found that {error}. Restore it from a backup."
        raise CheckpointError(msg) from error


def provide(folder: Path, *, init: str | None, text_init: str | None) -> Start | None:
    """Fetch what a run starts from, put its tokenizer into the run's folder, and note the source.

    Args:
        folder: Of the run.
        init: Bundle or hub id for all weights.
        text_init: Folder or hub id of a BERT for the text encoder alone.

    Returns:
        The note, or None if neither was asked for.

    Raises:
        ValueError: If both were.
        ModelUnavailableError: If it is not there, or cannot be fetched.
        BundleError: If it is damaged.
    """
    if init and text_init:
        msg = f"Take the text encoder from --init ({init}) or from --init-text ({text_init}), not from both."
        raise ValueError(msg)
    if init:
        bundle = load_bundle(init, lazy_head=True)
        size = bundle.spec.architecture.text.vocab_size
        start = Start(source=init, sha256=bundle.sha256, vocab_size=size, synthetic=bundle.spec.synthetic)
        tokenizer = bundle.tokenizer
    elif text_init:
        files = text_files(text_init)
        tokenizer = load_tokenizer(files.parent)
        weights = bert_weights(files)
        if _WORDS not in weights:
            msg = f"Expected the weights of a BERT in {files}, found no {_WORDS}. Name another folder or hub id."
            raise BundleError(msg)
        size = len(weights[_WORDS])
        start = Start(source=text_init, sha256=file_sha256(files), vocab_size=size, synthetic=False)
    else:
        return None
    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    save_tokenizer(tokenizer, folder / "tokenizer")
    write_json(folder / START_FILE, dataclasses.asdict(start))
    return start


def starting_weights(config: RunConfig) -> Callable[[Any], object] | None:
    """What to do with the fresh network of a run; None if its weights start random."""
    if isinstance(config, T3DConfig):
        if config.conditioning == "report" and not config.text_init:
            logger.warning(
                "The text encoder starts from random weights: frozen it tells little of a report, and learning from "
                "these objectives it may end by telling all reports alike. Start it from a trained one (--init-text)."
            )
        return partial(_take_for_t3d, config=config) if config.init or config.text_init else None
    assert isinstance(config, PretrainConfig)
    if config.init:
        source = config.init
        return lambda network: take_bundle(network, load_bundle(source, lazy_head=True), config.preprocessing)
    if config.text_init:
        weights = text_files(config.text_init)
        return lambda network: take_text_encoder(network, bert_weights(weights), source=weights.parent.name)
    if config.optimizer.text_share < 1 and not config.sentence_steps:
        logger.warning(
            "The text encoder starts from random weights, at %g of the learning rate: start it from a trained one "
            "(--init-text), or set optimizer.text_share=1.",
            config.optimizer.text_share,
        )
    return None


def take_bundle(network: PretrainNetwork, bundle: Bundle, spec: PreprocessSpec) -> tuple[list[str], list[str]]:
    """Load a bundle's encoders, temperature and report decoder into the network of a run.

    Args:
        network: Of the run.
        bundle: What to take.
        spec: The run's model grid; a bundle for another one is taken with a warning.

    Returns:
        Names of the parts that were loaded, and of those that are new.

    Raises:
        BundleError: If an encoder does not fit.
    """
    if bundle.spec.preprocessing != spec:
        logger.warning(
            "%s was trained on another model grid: %s, here %s", bundle.spec.name, bundle.spec.preprocessing, spec
        )
    loaded = []
    fresh = _fresh_parts(network.colipri.image_encoder, bundle)
    for part, new in (("image_encoder", fresh), ("text_encoder", {})):
        weights = getattr(bundle.model, part).state_dict() | new
        _load(getattr(network.colipri, part), weights, f"{bundle.spec.name}, {part}")
        loaded.append(part)
    temperature = float(bundle.model.softmax_temperature)
    if temperature < 1:  # 1 stands for "not known"
        with torch.no_grad():
            network.log_scale.fill_(math.log(1 / temperature))
        loaded.append("temperature")
    decoder = bundle.report_decoder
    if network.report is not None and decoder is not None and decoder.config == network.report.config:
        network.report.load_state_dict(decoder.state_dict())
        loaded.append("report decoder")
    parts = {"temperature", *(["report decoder"] * (network.report is not None))}
    parts |= {"reconstruction decoder"} if network.reconstruction is not None else set()
    parts |= {"stem"} if any(name.startswith(_STEM_PREFIX) for name in fresh) else set()
    parts |= {"peaks"} if any(name in _PEAKS for name in fresh) else set()
    return _say(bundle.spec.name, loaded, sorted(parts - set(loaded)))


def _fresh_parts(encoder: ImageEncoder, bundle: Bundle) -> dict[str, Tensor]:
    """Stem and peaks of a run whose bundle has none: they add nothing to what it encodes until they are trained."""
    lacking = () if bundle.spec.architecture.image.stem else (_STEM_PREFIX,)
    lacking += () if bundle.spec.architecture.pooler_peaks else _PEAKS
    return {name: tensor for name, tensor in encoder.state_dict().items() if name.startswith(lacking)}


def _take_for_t3d(network: T3DNetwork, config: T3DConfig) -> None:
    """Load the image encoder of a bundle and a BERT, whichever the run starts from."""
    if config.init:
        loaded = load_encoder(config.init)
        _load(network.encoder, loaded.encoder.state_dict(), config.init)
    if config.text_init and network.text_encoder is not None:
        weights = text_files(config.text_init)
        take_bert(network.text_encoder, bert_weights(weights), source=weights.parent.name)


def take_bert(backbone: nn.Module, weights: dict[str, Tensor], *, source: str) -> None:
    """Load a BERT; what it has besides the backbone's own keys is left out.

    Raises:
        BundleError: If a key is missing or of another shape.
    """
    wanted = set(backbone.state_dict())
    _load(backbone, {name: tensor for name, tensor in weights.items() if name in wanted}, source)


def take_text_encoder(
    network: PretrainNetwork, weights: dict[str, Tensor], *, source: str
) -> tuple[list[str], list[str]]:
    """Load a BERT into the text encoder; everything else, its pooler too, stays new.

    Raises:
        BundleError: If a key is missing or of another shape.
    """
    take_bert(network.colipri.text_encoder.backbone, weights, source=source)
    return _say(source, ["text encoder"], ["text pooler", "image encoder", "temperature", "decoders"])


def text_files(source: str) -> Path:
    """Weights file of a BERT, with its tokenizer beside it: `model.safetensors`, and `vocab.txt` or `tokenizer.json`.

    Args:
        source: Folder, shipped bundle or hub id.

    Raises:
        ModelUnavailableError: If it is none of these, or cannot be fetched.
    """
    folder = resolve_folder(source)
    if folder is not None:
        return folder / _WEIGHTS_FILE
    revision = VOCABULARY.revision if source == VOCABULARY.repo_id else "main"
    repository = Repository(repo_id=source, revision=revision)
    return fetch(repository, [VOCABULARY_FILE, _WEIGHTS_FILE], report=Reporter(None, None))[_WEIGHTS_FILE]


def bert_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a BERT, or of a bundle's text encoder, by the names that `transformers.BertModel` has."""
    weights = read_weights(path)
    for prefix in _BERT_PREFIXES:
        weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return weights


def _load(module: nn.Module, weights: dict[str, Any], source: str) -> None:
    try:
        load_strictly(module, weights, source=source)
    except BundleError as error:
        reason = str(error).partition(": ")[2].partition(". ")[0]
        msg = f"Expected weights in {source} that fit the recipe, found {reason}. Take a recipe of the same sizes."
        raise BundleError(msg) from error


def _say(source: str, loaded: list[str], new: list[str]) -> tuple[list[str], list[str]]:
    logger.info("Loaded from %s: %s. New: %s.", source, ", ".join(loaded), ", ".join(new) or "nothing")
    return loaded, new
