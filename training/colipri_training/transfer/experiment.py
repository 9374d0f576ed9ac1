"""Experiment: one encoder, one task, one share of the labels and one seed, from its weights to figures on disk.

FOLDER/config.json      the resolved config
FOLDER/log.jsonl, checkpoints/      training, gone on with where it stopped
FOLDER/result.json      the figures; an experiment that has them is not run again
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import Any
from typing import Literal

import torch

from colipri_core.errors import Cancelled
from colipri_core.errors import InputError
from colipri_core.io.atomic import write_json
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.transfer.batches import TransferBatches
from colipri_training.transfer.config import TransferConfig
from colipri_training.transfer.networks import ClassificationNetwork
from colipri_training.transfer.networks import SegmentationNetwork
from colipri_training.transfer.networks import TransferNetwork
from colipri_training.transfer.probe import probe_findings
from colipri_training.transfer.scoring import classify
from colipri_training.transfer.scoring import score_classification
from colipri_training.transfer.scoring import score_segmentation
from colipri_training.transfer.sources import SourceEncoder
from colipri_training.transfer.sources import open_source
from colipri_training.transfer.subsets import few_shot
from colipri_training.transfer.trainer import TransferTrainer
from colipri_training.transfer.volumes import SubVolumeStore

logger = logging.getLogger(__name__)

RESULT_FILE = "result.json"
Method = Literal["train", "probe"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """One cell of a table.

    Attributes:
        label: Its row.
        source: The encoder, as `sources.open_source` takes it.
        config: The downstream run.
        method: "train" by gradient steps, or "probe" (classification alone).
    """

    label: str
    source: str
    config: TransferConfig
    method: Method = "train"

    def __post_init__(self) -> None:
        """Refuse probes of anything but findings."""
        if self.method == "probe" and self.config.task != "classification":
            msg = f'A probe classifies findings; got the task "{self.config.task}". Freeze the encoder instead.'
            raise ValueError(msg)

    @property
    def use(self) -> str:
        """What becomes of the encoder, for tables: "probe", "frozen", "slowed" or "finetuned"."""
        return "probe" if self.method == "probe" else self.config.encoder

    @property
    def name(self) -> str:
        """Name of its folder."""
        config = self.config
        return f"{self.label}-{config.name}-{self.use}-{100 * config.fraction:g}pc-seed{config.seed}"


def run_experiment(
    experiment: Experiment, volumes: SubVolumeStore, folder: Path, *, device: str = "cpu"
) -> dict[str, Any]:
    """Train and score, or read the figures that are there already.

    Args:
        experiment: What to do.
        volumes: The data, complete.
        folder: Where `experiment.name` is made.
        device: Where networks compute.

    Returns:
        The document that `result.json` holds.

    Raises:
        InputError: If the folder holds figures of another config or other weights.
        Cancelled: If a signal stopped the training; its checkpoint is there.
    """
    place = folder / experiment.name
    config = experiment.config
    opened = open_source(experiment.source, seed=config.seed)
    identity = config.identity(opened.weights)
    done = _read(place, identity)
    if done is not None:
        return done
    place.mkdir(parents=True, exist_ok=True)
    write_json(place / "config.json", config.to_json())
    figures = _probe(opened, volumes, config, device) if experiment.method == "probe" else None
    if figures is None:
        figures = _train(experiment, opened, volumes, place, device)
    document = {**_about(experiment, opened), "identity": identity, **figures}
    write_json(place / RESULT_FILE, document)
    shutil.rmtree(place / "checkpoints", ignore_errors=True)
    return document


def _read(place: Path, identity: str) -> dict[str, Any] | None:
    path = place / RESULT_FILE
    if not path.is_file():
        return None
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if document["identity"] != identity:
        msg = (
            f"Expected figures of this config and these weights in {path}, found others. "
            "Remove that folder, or choose another output."
        )
        raise InputError(msg)
    return document


def _about(experiment: Experiment, opened: SourceEncoder) -> dict[str, Any]:
    config = experiment.config
    return {
        "label": experiment.label,
        "source": Path(experiment.source).name,
        "weights": opened.weights,
        "pretrained": opened.pretrained,
        "recipe": config.name,
        "task": config.task,
        "use": experiment.use,
        "fraction": config.fraction,
        "train_cases": len(few_shot(config.volumes.seeds("train"), config.fraction, seed=config.seed)),
        "seed": config.seed,
    }


def _probe(opened: SourceEncoder, volumes: SubVolumeStore, config: TransferConfig, device: str) -> dict[str, Any]:
    probabilities = probe_findings(opened.encoder.to(device), volumes, config, opened.window_hu)
    return {"steps": 0, "seconds": 0.0, **score_classification(probabilities, volumes, config)}


def _train(
    experiment: Experiment, opened: SourceEncoder, volumes: SubVolumeStore, place: Path, device: str
) -> dict[str, Any]:
    config = experiment.config
    network = build_network(opened, config).to(device)
    batches = TransferBatches(volumes, config, opened.window_hu)
    trainer = TransferTrainer(config, network, batches, folder=place, weights=opened.weights)
    if trainer.resume():
        logger.info("%s: going on after step %d.", experiment.name, trainer.step)
    trainer.run()
    if not trainer.finished:
        msg = f"{experiment.name} was stopped after step {trainer.step}; run it again to go on."
        raise Cancelled(msg)
    scored = (
        score_segmentation(network, volumes, config, opened.window_hu)
        if config.task == "segmentation"
        else score_classification(classify(network, volumes, config, opened.window_hu), volumes, config)
    )
    return {"steps": trainer.step, "seconds": round(trainer.seconds, 1), **scored}


def build_network(opened: SourceEncoder, config: TransferConfig) -> TransferNetwork:
    """Put a fresh decoder or classifier, drawn from the run's seed, on an encoder."""
    frozen = config.encoder == "frozen"
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        if config.task == "segmentation":
            classes = len(config.targets) + 1
            return SegmentationNetwork(opened.encoder, classes=classes, config=config.decoder, frozen=frozen)
        return ClassificationNetwork(opened.encoder, findings=len(CT_RATE_FINDINGS), frozen=frozen)
