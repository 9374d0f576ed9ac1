"""Models from a hub: the published COLIPRI weights, adapted in memory to a bundle, and bundles others have shared.

The published repository holds `model.safetensors` alone for our purposes; its text vocabulary is that of CXR-BERT, at
the revision the official package pins, and the preprocessing stands in the official package. No code is ever fetched.

The official package (0.1.3) pins no revision of its weights: it takes the newest commit of `main`. That commit could
not be looked up when this was written, so `main` is the default here too; the commit of the first fetch is recorded
and kept (see `download`), and every result names the SHA-256 of the weights. Another commit is asked for by
`microsoft/colipri@COMMIT`.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from pathlib import Path

import torch
from torch import Tensor

from colipri_core.errors import BundleError
from colipri_core.errors import ModelUnavailableError
from colipri_core.model.bundle import Bundle
from colipri_core.model.bundle import build_bundle
from colipri_core.model.bundle import read_bundle
from colipri_core.model.bundle import read_spec
from colipri_core.model.config import ModelConfig
from colipri_core.model.download import Repository
from colipri_core.model.download import fetch
from colipri_core.model.spec import SPEC_FILE
from colipri_core.model.spec import WEIGHTS_FILE
from colipri_core.model.spec import BundleSpec
from colipri_core.model.spec import TextSpec
from colipri_core.model.tokenizer import VOCABULARY_FILE
from colipri_core.model.tokenizer import tokenizer_from_vocabulary
from colipri_core.model.weights import file_sha256
from colipri_core.model.weights import read_weights
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.progress import Reporter

logger = logging.getLogger(__name__)

PUBLISHED_ID = "microsoft/colipri"
PUBLISHED = Repository(repo_id=PUBLISHED_ID, revision="main")
VOCABULARY = Repository(
    repo_id="microsoft/BiomedVLP-CXR-BERT-specialized", revision="5157bdba1437a3aed316dacb1a5b68edf96b9902"
)
FINE_SPACING = "1mm"
TEMPERATURE_KEY = "softmax_temperature"

_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?(:(?P<variant>\w+))?")


def load_from_hub(
    source: str, *, report: Reporter, cache_dir: Path | None = None, architecture: ModelConfig | None = None
) -> Bundle:
    """Open a model of a hub repository.

    Args:
        source: `owner/name`, optionally `@revision`; for the published model also `:1mm`, which encodes eight
            192-voxel windows at 1 mm instead of one at 2 mm (the same field of view).
        report: Receives the fraction of download and loading.
        cache_dir: Where files are kept; None for the user's cache folder.
        architecture: Sizes of weights in the published layout; None for the published sizes.

    Raises:
        ModelUnavailableError: If the model cannot be fetched; the message says what to do.
        BundleError: If a file does not fit.
        Cancelled: If the reporter's cancel token is set; what has arrived is kept.
    """
    repository, variant = parse_hub_id(source)
    if repository.repo_id == PUBLISHED_ID:
        spec = published_spec(fine=variant == FINE_SPACING, architecture=architecture or ModelConfig.published())
        return _load_published(repository, spec, report, cache_dir)
    return _load_shared(repository, report, cache_dir)


def parse_hub_id(source: str) -> tuple[Repository, str | None]:
    """Split a hub id into the repository and the variant.

    Raises:
        ModelUnavailableError: If it has another form, or a variant the repository does not have.
    """
    match = _HUB_ID.fullmatch(source)
    variant = match["variant"] if match else None
    if match is None or (variant and (match["repo"] != PUBLISHED_ID or variant != FINE_SPACING)):
        msg = f'Expected a hub id like "{PUBLISHED_ID}", "{PUBLISHED_ID}:{FINE_SPACING}" or "owner/name@revision", '
        raise ModelUnavailableError(msg + f"got {source}.")
    return Repository(repo_id=match["repo"], revision=match["revision"] or PUBLISHED.revision), variant


def published_spec(*, fine: bool = False, architecture: ModelConfig | None = None) -> BundleSpec:
    """Return the spec of the published weights.

    Preprocessing and masked padding are those of the official package 0.1.3 (RAS, 2 mm, 192 voxels). The 1 mm variant
    covers the same 384 mm with eight windows; a public re-implementation says the paper was evaluated so. Which of the
    two the weights prefer is not published: compare both on labelled data before any claim.

    Args:
        fine: The 1 mm variant.
        architecture: Sizes; None for the published ones.
    """
    preprocessing = PreprocessSpec.published()
    if fine:
        preprocessing = dataclasses.replace(preprocessing, spacing_mm=(1.0, 1.0, 1.0), size=(384, 384, 384))
    sizes = architecture or ModelConfig.published()
    return BundleSpec(
        name=f"{PUBLISHED_ID}:{FINE_SPACING}" if fine else PUBLISHED_ID,
        description="The published COLIPRI-CRM encoder (Wald et al., arXiv 2510.15042).",
        architecture=sizes,
        preprocessing=preprocessing,
        window=192 if fine else None,
        text=TextSpec(max_length=sizes.text.max_length, legacy_padding=False),
        vocabulary="ct-rate-18",
        licence="MIT",
        training_data="CT-RATE scans and reports, and NLST scans.",
        synthetic=False,
    )


def _load_published(repository: Repository, spec: BundleSpec, report: Reporter, cache_dir: Path | None) -> Bundle:
    vocabulary = fetch(VOCABULARY, [VOCABULARY_FILE], report=report.part(0.0, 0.01), cache_dir=cache_dir)
    weights = fetch(repository, [WEIGHTS_FILE], report=report.part(0.01, 0.8), cache_dir=cache_dir)[WEIGHTS_FILE]
    report(0.8, f"Loading {spec.name}")
    tensors = _with_temperature(read_weights(weights))
    tokenizer = tokenizer_from_vocabulary(vocabulary[VOCABULARY_FILE])
    return build_bundle(spec, tensors, tokenizer, sha256=file_sha256(weights))


def _with_temperature(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with a float temperature; 1, said out loud, where the file has none.

    The official loader leaves the constructor's default of 1 in that case. It changes probabilities, not their order.
    """
    if TEMPERATURE_KEY not in tensors:
        logger.warning("the weights hold no %s; 1.0 is used, as by the official package", TEMPERATURE_KEY)
    return {**tensors, TEMPERATURE_KEY: tensors.get(TEMPERATURE_KEY, torch.tensor(1.0)).float().reshape(())}


def _load_shared(repository: Repository, report: Reporter, cache_dir: Path | None) -> Bundle:
    """Open a repository that is laid out as a bundle."""
    spec_path = fetch(repository, [SPEC_FILE], report=report.part(0.0, 0.01), cache_dir=cache_dir)[SPEC_FILE]
    names = [SPEC_FILE, *sorted(read_spec(spec_path.parent).files)]
    paths = fetch(repository, names, report=report.part(0.01, 0.8), cache_dir=cache_dir)
    folders = {path.parent for path in paths.values()}
    if len(folders) != 1:
        msg = f"Expected the files of {repository.repo_id} at one commit, found them at {len(folders)}. Open it again."
        raise BundleError(msg)
    return read_bundle(folders.pop(), report.part(0.8, 1.0))
