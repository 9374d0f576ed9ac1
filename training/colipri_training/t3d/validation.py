"""Whether a T3D run uses the text: restoration with the own and another report, and contrast, on held-out scans."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor

from colipri_training.data.batch import Text
from colipri_training.data.batches import Tokenize
from colipri_training.data.prepared import PreparedVolumes
from colipri_training.distributed import gather_rows
from colipri_training.distributed import world
from colipri_training.objectives.contrastive import own_places
from colipri_training.t3d.batch import T3DBatch
from colipri_training.t3d.batches import T3DBatches
from colipri_training.t3d.batches import t3d_loader
from colipri_training.t3d.config import T3DConfig
from colipri_training.t3d.network import T3DNetwork

MOST_AT_ONCE = 8
"""Scans that one process encodes at once, and that a sub-volume is found among (times the processes); our choice."""

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """What a network makes of N held-out scans.

    Args:
        own: (N,) restoration error with the scan's own report; None where nothing is restored.
        wrong: (N,) with another scan's.
        told: (N,) how far the token states of both reports, each averaged, lie apart, over the root mean square of
            their lengths: near 0 the text encoder tells all reports alike, and none can help. None as above.
        found: (N,) share of the pairs of sub-volumes where the own scan came first; None where nothing is compared.
        pool: Scans among which it was to be found.
    """

    own: Floats | None
    wrong: Floats | None
    told: Floats | None
    found: Floats | None
    pool: int

    def figures(self) -> dict[str, float]:
        """Means, for the log."""
        figures = {"validation_scans": float(len(self.found if self.own is None else self.own))}
        if self.own is not None and self.wrong is not None:
            figures |= {
                "restoration/own_report": float(self.own.mean()),
                "restoration/wrong_report": float(self.wrong.mean()),
                "restoration/gap": float((self.wrong - self.own).mean()),
            }
        if self.told is not None:
            figures["text/told_apart"] = float(self.told.mean())
        if self.found is not None:
            figures |= {"contrast/accuracy": float(self.found.mean()), "contrast/pool": float(self.pool)}
        return {name: round(value, 6) for name, value in figures.items()}


class T3DValidation:
    """Measures a network on the scans of a split that have a report; the same sub-volumes each time.

    Args:
        sources: Prepared data sets.
        config: The run.
        tokenize: The run's tokenizer.
        split: Which patients.
    """

    def __init__(
        self, sources: Sequence[PreparedVolumes], config: T3DConfig, tokenize: Tokenize, *, split: str = "validation"
    ) -> None:
        self._sources, self._config, self._tokenize, self._split = sources, config, tokenize, split
        volumes = [volume for source in sources for volume in source.volumes if volume.split == split]
        told = [(volume.id, volume.report) for volume in volumes if volume.report is not None]
        self.count = min(len(told), config.data.validation_cases)
        self.wrong_reports = other_reports(dict(told))

    def __call__(self, network: T3DNetwork) -> dict[str, float]:
        """Figures for the log of a run; every process must ask. None where there are no scans."""
        held_out = self.measure(network)
        return {} if held_out is None else held_out.figures()

    @torch.no_grad()
    def measure(self, network: T3DNetwork) -> HeldOut | None:
        """Measure a network, each scan once.

        Args:
            network: In evaluation mode, with the same weights on every process.

        Returns:
            The same on every process; None if there are fewer scans than processes.
        """
        at_once = min(MOST_AT_ONCE, self.count // world().size)
        if at_once == 0:
            return None
        device = network.log_scale.device
        rows: dict[str, list[Tensor]] = {"own": [], "wrong": [], "told": [], "found": []}
        for batch, wrong in self.batches(at_once):
            right = batch.to(device)
            outputs = network(right)
            if outputs.restoration is not None:
                reports = right.reports, tuple(part.to(device) for part in wrong)
                own, other = (network.states(report, len(right.images)) for report in reports)
                rows["own"].append(gather_rows(outputs.restoration.float()))
                rows["wrong"].append(gather_rows(network.restoration_errors(right, other).float()))
                rows["told"].append(gather_rows(told_apart(own, other)))
            if outputs.match is not None:
                own = outputs.match.argmax(dim=2) == own_places(len(outputs.match), device)[:, None]
                rows["found"].append(gather_rows(own.float().mean(dim=1)))
        arrays = {name: _numbers(parts) for name, parts in rows.items()}
        return HeldOut(**arrays, pool=at_once * world().size)

    def batches(self, at_once: int) -> Iterator[tuple[T3DBatch, tuple[Tensor, Tensor]]]:
        """This process's part of each batch of scans, and wrong reports for them; scans left over are left out.

        Args:
            at_once: Scans of each process.
        """
        here = world()
        size = at_once * here.size
        loader = t3d_loader(self._sources, self._config, here, split=self._split, batch_size=size)
        batches = T3DBatches(loader, self._config, self._tokenize)
        for step in range(self.count // size):
            read = loader.batch(step)
            yield batches.made_of(read), batches.reports(read, self.wrong_reports)


def other_reports(reports: dict[str, str]) -> dict[str, str]:
    """For each scan the report of the next scan that has another one; its own if there is none."""
    names, texts = list(reports), list(reports.values())
    found = {}
    for place, name in enumerate(names):
        later = [*texts[place + 1 :], *texts[:place]]
        found[name] = next((text for text in later if text != texts[place]), texts[place])
    return found


def told_apart(first: Text, second: Text) -> Tensor:
    """Distance of the mean token states of pairs of texts, over the root mean square of their lengths: (B,) float32.

    Args:
        first: States (B, L, H) and mask (B, L).
        second: The same of the other texts.
    """
    means = []
    for states, mask in (first, second):
        weight = rearrange(mask, "b l -> b l 1").float()
        means.append((states.float() * weight).sum(dim=1) / weight.sum(dim=1))
    one, other = means
    return (one - other).norm(dim=-1) / ((one.square() + other.square()).sum(dim=-1) / 2).sqrt()


def _numbers(parts: list[Tensor]) -> Floats | None:
    return torch.cat(parts).double().cpu().numpy() if parts else None
