"""Fine-tuning a structure head on a project: from a bundle, with or without a head, to a bundle of the user's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from colipri_core.model.bundle import Bundle
from colipri_core.model.export import save_changed
from colipri_core.model.spec import BundleSpec
from colipri_core.model.spec import StructureSpec
from colipri_core.model.structure_head import StructureHead
from colipri_core.model.structure_head import StructureHeadConfig
from colipri_core.project_labels import LabelledCase
from colipri_core.vocabulary.structures import StructureConcept
from colipri_training.config import OptimizerConfig
from colipri_training.config import StructureConfig
from colipri_training.evaluation.overlap import dice
from colipri_training.project.split import held_out
from colipri_training.project.volumes import ProjectVolumes
from colipri_training.structures import StructureTrainer
from colipri_training.structures import predict_labels

FRESH_CHANNELS = 24
"""Channels of the shallowest level of a head that starts from nothing, those of the shipped one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineTuning:
    """How a head is fine-tuned. All figures are our choice.

    Attributes:
        steps: Steps in all.
        learning_rate: Peak for the head.
        encoder_share: The encoder's rate over the head's; 0 leaves it as it is.
        batch_size: Volumes of a step.
        validation: Share of the cases that are held out to choose the best state; at least one from three cases on.
        seed: Decides what is held out, order and augmentation.
    """

    steps: int = 200
    learning_rate: float = 2e-3
    encoder_share: float = 0.0
    batch_size: int = 1
    validation: float = 0.2
    seed: int = 0


def starting_head(bundle: Bundle, structures: Sequence[StructureConcept], *, seed: int = 0) -> StructureHead:
    """Return a head for some structures that knows what the bundle's head knows.

    All layers but the last are the bundle's. Of the last, the background's channels are, and those of structures of the
    same name; those of a new structure are random.

    Args:
        bundle: Where to begin; without a head of its own every layer is random.
        structures: Classes of the new head.
        seed: Decides what is random.
    """
    old, image = bundle.structure_head, bundle.spec.architecture.image
    names = tuple(structure.name for structure in structures)
    torch.manual_seed(seed)
    head = StructureHead(
        StructureHeadConfig(
            token_width=image.width,
            patch_size=image.patch_size,
            channels=old.config.channels if old else FRESH_CHANNELS,
            structures=names,
        )
    )
    if old is None:
        return head
    state = {name: value for name, value in old.state_dict().items() if not name.startswith("out.")}
    kept = {0: 0} | {
        new: old.config.structures.index(name) + 1
        for new, name in enumerate(names, start=1)
        if name in old.config.structures
    }
    for name, value in head.out.state_dict().items():
        state[f"out.{name}"] = _with_classes(value, old.out.state_dict()[name], kept)
    head.load_state_dict(state)
    return head


def _with_classes(fresh: Tensor, old: Tensor, kept: dict[int, int]) -> Tensor:
    """The last layer's weight or bias with the channels of some classes (new -> old) taken over."""
    fold = StructureHead.FOLDED
    classes, before = (rearrange(value, "(k f) ... -> k f ...", f=fold).clone() for value in (fresh, old))
    for new, known in kept.items():
        classes[new] = before[known]
    return rearrange(classes, "k f ... -> (k f) ...")


class StructureTuning:
    """A fine-tuning, ready to run.

    Args:
        bundle: Where to begin; its encoder is changed in place if it is to learn.
        cases: The labelled cases.
        structures: What to outline.
        folder: Where log and checkpoint go; a run that stopped there is gone on with.
        config: How.

    Attributes:
        trainer: Does the steps.
        training: Cases that are learned from.
        validation: Cases that the best state is chosen by.

    Raises:
        CheckpointError: If the run there is another one: of other cases or labels, another bundle or config.
    """

    def __init__(
        self,
        bundle: Bundle,
        cases: Sequence[LabelledCase],
        structures: Sequence[StructureConcept],
        *,
        folder: Path,
        config: FineTuning,
    ) -> None:
        self.bundle = bundle
        self.structures = tuple(structures)
        self.config = config
        self.training, self.validation = held_out(cases, share=config.validation, seed=config.seed)
        preprocessing = bundle.spec.preprocessing
        self._judged = ProjectVolumes(self.validation, structures, preprocessing)
        self._head = starting_head(bundle, structures, seed=config.seed)
        optimizer = OptimizerConfig(steps=config.steps, learning_rate=config.learning_rate, weight_decay=0.01)
        self.trainer = StructureTrainer(
            StructureConfig(
                optimizer=optimizer,
                preprocessing=preprocessing,
                train_cases=len(self.training),
                batch_size=config.batch_size,
                encoder_share=config.encoder_share,
                seed=config.seed,
                structures=self._head.config.structures,
                channels=self._head.config.channels,
            ),
            bundle.model,
            self._head,
            volumes=ProjectVolumes(self.training, structures, preprocessing),
            folder=folder,
            validate=self._mean_dice if self.validation else None,
        )
        self.trainer.identity |= {"bundle": bundle.sha256, "held out": self._judged.identity()}
        self.trainer.resume()

    def scores(self) -> dict[str, float]:
        """Mean Dice of each structure over the held-out cases, on the model grid; empty without any."""
        found: dict[str, list[float]] = {structure.name: [] for structure in self.structures}
        for index in range(len(self._judged)):
            outlined = predict_labels(self.bundle.model, self._head, self._judged.image(index)).numpy()
            labels = self._judged.read(index)[1].numpy()
            for label, structure in enumerate(self.structures, start=1):
                found[structure.name].append(dice(outlined == label, labels == label))
        return {name: float(np.mean(values)) for name, values in found.items() if values}

    def export(
        self, folder: Path, *, source: str, licence: str, overwrite: bool = False, storage: str = "float32"
    ) -> BundleSpec:
        """Write the fine-tuned model as a bundle.

        An encoder that learned has left its text encoder, its calibration and its report decoder behind: the last two
        are not written then.

        Args:
            folder: Where the bundle goes; its name becomes the bundle's.
            source: What the labels are called, such as the project's name.
            licence: Licence of the weights.
            overwrite: Replace a bundle that is there.
            storage: Floating type of the weights in the file.
        """
        old, learned = self.bundle.spec, bool(self.config.encoder_share)
        decoder = None if learned else self.bundle.report_decoder
        phrases = None if learned else self.bundle.phrase_head
        names = ", ".join(structure.name for structure in self.structures)
        spec = dataclasses.replace(
            old,
            name=folder.name,
            description=f"{old.name} with a structure head for {names}.",
            structures=StructureSpec(
                names=self._head.config.structures,
                config=self._head.config.to_json(),
                codes={structure.name: structure.code for structure in self.structures if structure.code},
            ),
            calibration=None if learned else old.calibration,
            report=decoder.config.to_json() if decoder else None,
            phrases=phrases.config.to_json() if phrases else None,
            licence=licence,
            training_data=f"{old.training_data} Structures: {len(self.training)} labelled volumes of {source}"
            + (", which the encoder learned from as well." if learned else "."),
            synthetic=False,
            storage=storage,
            files={},
        )
        parts = {"structure_head": self._head, "report_decoder": decoder, "phrase_head": phrases}
        return save_changed(self.bundle, folder, spec=spec, overwrite=overwrite, **parts)

    def _mean_dice(self) -> float:
        return float(np.mean(list(self.scores().values())))
