"""What trains one part of a bundle on phantoms while its encoders stay as they are: course, stage and bundle."""

from __future__ import annotations

import copy
import dataclasses
import re
from abc import abstractmethod
from pathlib import Path
from typing import Any

from torch import nn

from colipri_core.model.bundle import Bundle
from colipri_core.model.export import save_changed
from colipri_core.model.spec import BundleSpec
from colipri_training.config import OptimizerConfig
from colipri_training.data.store import CaseStore
from colipri_training.data.tokens import TokenFiles
from colipri_training.identity import plain
from colipri_training.phantoms.case import VALIDATION_FIRST_SEED
from colipri_training.stage import Stage


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhantomCourse:
    """Which phantoms a part learns from, and how. All numbers are our choice.

    Args:
        optimizer: The optimiser and its schedule.
        cases: Number of training phantoms.
        first_case: Seed of the first. An encoder is surer of the phantoms it has learned from than of any others, so
            a part should learn from others.
        batch_size: Phantoms in a step.
        validation_cases: Phantoms of the validation split that the best state is chosen by; 0 keeps the last.
        seed: Decides the wordings and the order of the phantoms.
        save_every: Steps between checkpoints, at which the state is judged.
    """

    optimizer: OptimizerConfig
    cases: int
    first_case: int = 0
    batch_size: int = 8
    validation_cases: int = 64
    seed: int = 0
    save_every: int = 400

    def __post_init__(self) -> None:
        """Refuse what cannot be learned from, or is judged by."""
        if min(self.cases, self.batch_size, self.save_every, self.optimizer.steps) < 1:
            msg = (
                "cases, batch_size, save_every and optimizer.steps must be at least 1, got "
                f"{self.cases}, {self.batch_size}, {self.save_every} and {self.optimizer.steps}"
            )
            raise ValueError(msg)
        if self.training_seeds[-1] >= VALIDATION_FIRST_SEED:
            msg = (
                f"Phantoms from seed {VALIDATION_FIRST_SEED} on are those of validation, got {self.cases} to learn "
                f"from that begin with {self.first_case}. Take an earlier --first-case, or fewer --cases."
            )
            raise ValueError(msg)

    @property
    def training_seeds(self) -> range:
        """Phantoms to learn from."""
        return range(self.first_case, self.first_case + self.cases)

    @property
    def validation_seeds(self) -> range:
        """Phantoms that the best state is chosen by."""
        return range(VALIDATION_FIRST_SEED, VALIDATION_FIRST_SEED + self.validation_cases)

    @property
    def seeds(self) -> list[int]:
        """All of them."""
        return [*self.validation_seeds, *self.training_seeds]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class NewPart:
    """A part in the making.

    Args:
        name: As `save_bundle` calls it.
        module: The part.
        field: Field of the bundle's document that describes it.
        config: The description, as plain values.
    """

    name: str
    module: nn.Module
    field: str
    config: dict[str, Any]


class PhantomStage(Stage):
    """Fits a part; of the states that are saved it keeps the one with the best score.

    Args:
        name: Of the stage and its files.
        course: What it learns from.
        part: What is trained.
        bundle: Its encoders are kept as they are.
        store: The phantoms, on the encoder's grid: those to learn from, and those of validation.
        folder: Where the log, the checkpoint and the tokens go.

    Raises:
        ValueError: If the store lacks some of the phantoms.
    """

    def __init__(
        self, name: str, course: PhantomCourse, part: NewPart, bundle: Bundle, *, store: CaseStore, folder: Path
    ) -> None:
        missing = [seed for seed in course.seeds if seed not in store]
        if missing:
            msg = f"Expected the phantoms of the run in the store, found {len(missing)} missing, such as {missing[0]}."
            raise ValueError(msg)
        self.bundle = bundle
        self._part = part
        self._cases = course.cases
        self._validation = course.validation_seeds
        self._store = store
        self._tokens = TokenFiles(bundle, store, folder / "tokens")
        (x, y, z), patch = bundle.spec.preprocessing.size, bundle.model.patch_size
        self._grid = (x // patch, y // patch, z // patch)
        rates = {name: course.optimizer.learning_rate}
        super().__init__(
            name, course.optimizer, {name: part.module}, rates, save_every=course.save_every, folder=folder
        )
        self.identity = {"bundle": bundle.sha256, "config": plain(course, without=("save_every",))}

    @property
    def best(self) -> float | None:
        """Score of the best state so far; None before the first was judged."""
        return self._kept.get("best")

    @abstractmethod
    def score(self, seeds: range) -> dict[str, float]:
        """Figures of the state as it is on some phantoms; the first is the one that the best state is chosen by."""

    def export(self, folder: Path, *, overwrite: bool = False, storage: str = "float32") -> BundleSpec:
        """Write the model with this part as a bundle; all its other parts stay as they are.

        Args:
            folder: Where the bundle goes.
            overwrite: Replace a bundle that is there.
            storage: Floating type of the weights in the file.

        Returns:
            The spec as written.
        """
        part, old = self._part, self.bundle.spec
        title = part.name.replace("_", " ").capitalize()
        learned_before = re.sub(rf" {title}: \d+ phantoms\.", "", old.training_data)
        described: dict[str, Any] = {
            part.field: part.config,
            "training_data": f"{learned_before} {title}: {self._cases} phantoms.",
            "storage": storage,
            "files": {},
        }
        spec = dataclasses.replace(old, **described)
        return save_changed(self.bundle, folder, spec=spec, overwrite=overwrite, **{part.name: part.module})

    def _judge(self) -> dict[str, float]:
        if not self._validation:
            return {}
        figures = self.score(self._validation)
        score = next(iter(figures.values()))
        if self.best is None or score > self.best:
            self._kept = {"best": score, "modules": copy.deepcopy(self._weights())}
        return {name: round(value, 4) for name, value in figures.items()}

    def _finish(self) -> None:
        if self._kept:
            self._take_weights(self._kept["modules"])
        super()._finish()
