"""The text tokenizer: lower-casing WordPiece built from plain vocabulary files, never from remote code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer as Backend
from torch import Tensor
from transformers import BertTokenizer
from transformers import PreTrainedTokenizerFast

from colipri_core.errors import BundleError

TOKENIZER_FILE = "tokenizer.json"
VOCABULARY_FILE = "vocab.txt"

_SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Read `tokenizer.json`, or build BERT's tokenizer from `vocab.txt` (one word piece a line).

    Args:
        folder: Folder that holds one of the two files; `tokenizer.json` wins.

    Raises:
        BundleError: If neither file is there, or the file is not a tokenizer.
    """
    if (folder / TOKENIZER_FILE).is_file():
        return _from_json(folder / TOKENIZER_FILE)
    if (folder / VOCABULARY_FILE).is_file():
        return tokenizer_from_vocabulary(folder / VOCABULARY_FILE)
    msg = f"Expected {TOKENIZER_FILE} or {VOCABULARY_FILE} in {folder}, found neither. Export the bundle again."
    raise BundleError(msg)


def tokenizer_from_vocabulary(path: Path) -> PreTrainedTokenizerFast:
    """Build BERT's lower-casing tokenizer from a vocabulary file.

    Args:
        path: Text file with one word piece a line; the line number is the id.

    Raises:
        BundleError: If the file is not UTF-8 text, repeats a word piece or lacks a special token.
    """
    try:
        pieces = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        msg = f"Expected UTF-8 text with one word piece a line in {path}, got other bytes. Fetch the file again."
        raise BundleError(msg) from error
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    absent = sorted(set(_SPECIAL.values()) - set(vocabulary))
    if absent or len(vocabulary) != len(pieces):
        msg = (
            f"Expected distinct word pieces with all special tokens in {path}, "
            f"found {len(pieces) - len(vocabulary)} repeated and {absent} missing. Use the model's own vocabulary."
        )
        raise BundleError(msg)
    return BertTokenizer(vocab=vocabulary)


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    """Write `tokenizer.json` and return its path."""
    path = folder / TOKENIZER_FILE
    tokenizer.backend_tokenizer.save(str(path))
    return path


def tokenize(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_length: int, *, pad_to_max: bool = False
) -> tuple[Tensor, Tensor]:
    """Turn texts into word-piece ids between [CLS] and [SEP].

    Args:
        tokenizer: From `load_tokenizer`.
        texts: Any texts; longer ones are cut.
        max_length: Longest result in tokens, special tokens included.
        pad_to_max: Pad to `max_length` rather than to the longest text; only legacy padding needs it.

    Returns:
        Ids and attention mask (1 at tokens, 0 at padding), both (T, L) int64.
    """
    encoded = tokenizer(
        list(texts),
        max_length=max_length,
        padding="max_length" if pad_to_max else "longest",
        truncation=True,
        return_tensors="pt",
    )
    ids, mask = encoded["input_ids"], encoded["attention_mask"]
    return ids.to(torch.int64), mask.to(torch.int64)


def _from_json(path: Path) -> PreTrainedTokenizerFast:
    try:
        backend = Backend.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the Rust library raises plain Exception for a file it cannot parse
        msg = f"Expected a tokenizer in {path}, got a file that cannot be parsed ({error}). Export the bundle again."
        raise BundleError(msg) from error
    return PreTrainedTokenizerFast(tokenizer_object=backend, **_SPECIAL)  # type: ignore[no-untyped-call]
