"""Writing a bundle atomically: all files into a temporary folder, then one rename."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import TypedDict
from typing import TypeVar
from typing import Unpack

from safetensors.torch import save_file
from torch import Tensor
from torch import nn
from transformers import PreTrainedTokenizerFast

from colipri_core.model.click_spec import ClickSpec
from colipri_core.model.colipri import ColipriModel
from colipri_core.model.dense_spec import DenseSpec
from colipri_core.model.report_decoder import ReportDecoder
from colipri_core.model.spec import HEAD_PREFIX
from colipri_core.model.spec import PHRASE_PREFIX
from colipri_core.model.spec import REPORT_PREFIX
from colipri_core.model.spec import SPEC_FILE
from colipri_core.model.spec import WEIGHTS_FILE
from colipri_core.model.spec import BundleSpec
from colipri_core.model.tokenizer import TOKENIZER_FILE
from colipri_core.model.tokenizer import save_tokenizer
from colipri_core.model.weights import file_sha256
from colipri_core.model.weights import pack

if TYPE_CHECKING:
    from colipri_core.model.bundle import Bundle
    from colipri_core.model.click_network import ClickNetwork
    from colipri_core.model.phrase_head import PhraseHead

AnySpec = TypeVar("AnySpec", BundleSpec, ClickSpec, DenseSpec)


class OptionalParts(TypedDict, total=False):
    """Parts a bundle has exactly if its spec says so; None is the same as leaving one out.

    Attributes:
        structure_head: Of the structures that the spec names.
        report_decoder: Of the sizes in `spec.report`.
        phrase_head: Of the sizes in `spec.phrases`.
    """

    structure_head: nn.Module | None
    report_decoder: ReportDecoder | None
    phrase_head: PhraseHead | None


def save_bundle(
    folder: Path,
    *,
    spec: BundleSpec,
    model: ColipriModel,
    tokenizer: PreTrainedTokenizerFast,
    overwrite: bool = False,
    **optional: Unpack[OptionalParts],
) -> BundleSpec:
    """Write a bundle; a crash or a full disk leaves the old one, or none, never half of one.

    Args:
        folder: Where the bundle goes; its parent is created.
        spec: The document; its `files` are filled in here.
        model: The encoder. Its sizes must be the spec's.
        tokenizer: The text tokenizer.
        overwrite: Replace a bundle that is there.
        **optional: Its other parts.

    Returns:
        The spec as written, with the hashes of the files.

    Raises:
        ValueError: If model, head and spec do not belong together, or a weight is too large for `spec.storage`.
        FileExistsError: If the folder exists and `overwrite` is false.
        OSError: If the disk is full or not writable; nothing is changed then.
    """
    structure_head = optional.get("structure_head")
    report_decoder, phrase_head = optional.get("report_decoder"), optional.get("phrase_head")
    if spec.architecture != model.config or (spec.structures is None) != (structure_head is None):
        msg = "spec and modules must belong together: same architecture, and structures exactly if there is a head"
        raise ValueError(msg)
    for name, sizes, part in (("report", spec.report, report_decoder), ("phrases", spec.phrases, phrase_head)):
        if sizes != (part and part.config.to_json()):
            msg = f"spec.{name} must be the sizes of the part that is given, and None exactly if none is"
            raise ValueError(msg)
    parts: dict[str, nn.Module | None] = {"": model, HEAD_PREFIX: structure_head, REPORT_PREFIX: report_decoder}
    parts[PHRASE_PREFIX] = phrase_head

    def write(fresh: Path) -> BundleSpec:
        save_file(pack(tensors_of(parts), spec.storage), fresh / WEIGHTS_FILE, metadata={"format": "pt"})
        save_tokenizer(tokenizer, fresh)
        hashes = {name: file_sha256(fresh / name) for name in (WEIGHTS_FILE, TOKENIZER_FILE)}
        return dataclasses.replace(spec, files=hashes)

    return write_folder(folder, write, overwrite=overwrite)


def save_changed(bundle: Bundle, folder: Path, *, spec: BundleSpec, overwrite: bool, **parts: Any) -> BundleSpec:
    """Write a bundle again, of which some optional parts are others.

    Args:
        bundle: The rest comes from it.
        folder: Where it goes.
        spec: The document.
        overwrite: Replace a bundle that is there.
        **parts: Parts in place of the bundle's, as `save_bundle` takes them; None leaves one out.

    Returns:
        The spec as written.
    """
    optional = {name: getattr(bundle, name) for name in OptionalParts.__annotations__} | parts
    return save_bundle(
        folder, spec=spec, model=bundle.model, tokenizer=bundle.tokenizer, overwrite=overwrite, **optional
    )


def save_click_bundle(folder: Path, *, spec: ClickSpec, network: ClickNetwork, overwrite: bool = False) -> ClickSpec:
    """Write a bundle of the interactive segmenter, atomically as `save_bundle`.

    Args:
        folder: Where the bundle goes; its parent is created.
        spec: The document; its `files` are filled in here.
        network: The network. Its sizes must be the spec's.
        overwrite: Replace a bundle that is there.

    Returns:
        The spec as written, with the hash of the weights.

    Raises:
        ValueError: If network and spec do not belong together, or a weight is too large for `spec.storage`.
        FileExistsError: If the folder exists and `overwrite` is false.
        OSError: If the disk is full or not writable; nothing is changed then.
    """
    if spec.architecture != network.config:
        msg = f"spec and network must have the same sizes, got {spec.architecture} and {network.config}"
        raise ValueError(msg)

    def write(fresh: Path) -> ClickSpec:
        save_file(pack(tensors_of({"": network}), spec.storage), fresh / WEIGHTS_FILE, metadata={"format": "pt"})
        return dataclasses.replace(spec, files={WEIGHTS_FILE: file_sha256(fresh / WEIGHTS_FILE)})

    return write_folder(folder, write, overwrite=overwrite)


def write_folder(folder: Path, write: Callable[[Path], AnySpec], *, overwrite: bool) -> AnySpec:
    """Fill a temporary folder, add the spec, and rename it into place.

    Args:
        folder: Where the bundle goes; its parent is created.
        write: Writes the files into the folder it is given and returns the spec with their hashes.
        overwrite: Replace a bundle that is there.

    Returns:
        The spec as written.

    Raises:
        FileExistsError: If the folder exists and `overwrite` is false.
        OSError: If the disk is full or not writable; nothing is changed then.
    """
    if folder.exists() and not overwrite:
        msg = f"{folder} exists; pass overwrite=True to replace it"
        raise FileExistsError(msg)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        written = write(fresh)
        (fresh / SPEC_FILE).write_text(json.dumps(written.to_json(), indent=2) + "\n", encoding="utf-8")
        _publish(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return written


def tensors_of(parts: Mapping[str, nn.Module | None]) -> dict[str, Tensor]:
    """Return the tensors of modules on the CPU, each module's names behind its prefix; None has none."""
    return {
        prefix + name: tensor.detach().cpu().contiguous()
        for prefix, module in parts.items()
        if module is not None
        for name, tensor in module.state_dict().items()
    }


def _publish(fresh: Path, folder: Path) -> None:
    """Flush the files to disk and rename the folder into place, keeping the old one until that has worked."""
    for path in fresh.iterdir():
        with path.open("rb+") as stream:
            os.fsync(stream.fileno())
        path.chmod(0o644)
    fresh.chmod(0o755)
    if not folder.exists():
        fresh.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent)) / folder.name
    folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        old.rename(folder)
        old.parent.rmdir()
        raise
    shutil.rmtree(old.parent, ignore_errors=True)
