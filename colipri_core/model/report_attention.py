"""Where a report decoder looks while it writes: its cross-attention, collected without changing how it runs.

Naming: L word pieces, M memory tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from colipri_core.model.report_decoder import Attention
from colipri_core.model.report_decoder import KeysValues
from colipri_core.model.report_decoder import ReportDecoder


class AttentionWatch:
    """Collects the cross-attention of one report while the body of a `with` runs the decoder.

    The decoder may run one piece at a time or over all at once; the rows come out the same. Attention is averaged over
    layers and heads (our choice).

    Args:
        decoder: The decoder, run on a batch of one.
    """

    def __init__(self, decoder: ReportDecoder) -> None:
        self._layers = [module for name, module in decoder.named_modules() if name.endswith(".cross")]
        self._seen: list[list[Tensor]] = [[] for _ in self._layers]
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Self:
        for layer, seen in zip(self._layers, self._seen, strict=True):
            self._hooks.append(layer.register_forward_hook(_collector(seen)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def forget(self) -> None:
        """Drop what was collected so far."""
        for seen in self._seen:
            seen.clear()

    def mean(self, start: int, stop: int) -> Tensor:
        """Return the mean attention (M,) while pieces `start` to `stop` - 1 were chosen; piece 0 is the first written.

        Args:
            start: First piece.
            stop: After the last piece.
        """
        rows_LM = torch.stack([torch.cat(seen) for seen in self._seen]).mean(dim=0)
        return rows_LM[start:stop].mean(dim=0)


def _collector(seen: list[Tensor]) -> Callable[[torch.nn.Module, tuple[Tensor, KeysValues], Tensor], None]:
    def collect(module: torch.nn.Module, inputs: tuple[Tensor, KeysValues], output: Tensor) -> None:
        assert isinstance(module, Attention)
        seen.append(module.weights(*inputs)[0].float().cpu())

    return collect
