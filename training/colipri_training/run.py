"""Run: the folder of one training run and the stages it goes through, each resumable.

cases/          prepared phantoms on the model grid
tokenizer/      word pieces trained on their reports
config.json     the resolved config
log.jsonl, checkpoints/             pretraining
structures.jsonl, structures.pt     the structure head
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from collections.abc import Iterator
from functools import cached_property
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from colipri_core.model.colipri import ColipriModel
from colipri_core.model.report_decoder import ReportDecoder
from colipri_core.model.structure_head import StructureHead
from colipri_core.model.structure_head import StructureHeadConfig
from colipri_core.model.tokenizer import load_tokenizer
from colipri_core.model.tokenizer import tokenize
from colipri_training.config import PretrainConfig
from colipri_training.config import StructureConfig
from colipri_training.data.batch import Batch
from colipri_training.data.batches import BatchMaker
from colipri_training.data.phantoms import fill
from colipri_training.data.store import CaseStore
from colipri_training.data.text import SentenceBank
from colipri_training.data.text import train_tokenizer
from colipri_training.distributed import world
from colipri_training.evaluation import zero_shot
from colipri_training.initialise import align_sentences
from colipri_training.phantoms.case import VALIDATION_FIRST_SEED
from colipri_training.recipes import colipri
from colipri_training.recipes import tiny
from colipri_training.recipes.variants import Recipe
from colipri_training.recipes.variants import variants
from colipri_training.structures import StructureTrainer
from colipri_training.trainer import Trainer

logger = logging.getLogger(__name__)

RECIPES: dict[str, Recipe] = {
    "tiny": tiny.tiny,
    "smoke": tiny.smoke,
    **variants("tiny", tiny.tiny),
    **variants("smoke", tiny.smoke),
    **variants("colipri", colipri.colipri),
}
STRUCTURE_RECIPES: dict[str, Callable[[PretrainConfig], StructureConfig]] = {
    "tiny": tiny.tiny_structures,
    "smoke": tiny.smoke_structures,
}


class Run:
    """A run of a recipe in a folder.

    Args:
        recipe: Name of the recipe.
        folder: Its folder; made if absent.

    Raises:
        ValueError: If there is no such recipe.
    """

    def __init__(self, recipe: str, folder: Path) -> None:
        if recipe not in RECIPES:
            msg = f'Unknown recipe "{recipe}". Available: {", ".join(sorted(RECIPES))}.'
            raise ValueError(msg)
        self.recipe = recipe
        self.folder = folder
        self.store = CaseStore(folder / "cases")

    @cached_property
    def config(self) -> PretrainConfig:
        """The resolved config; needs the tokenizer."""
        vocabulary = (self.folder / "tokenizer" / "vocab.txt").read_text().splitlines()
        return RECIPES[self.recipe](vocab_size=len(vocabulary))

    @property
    def validation_seeds(self) -> range:
        """Seeds of the validation phantoms."""
        return range(VALIDATION_FIRST_SEED, VALIDATION_FIRST_SEED + self.config.data.validation_cases)

    def prepare(self, *, workers: int = 1) -> Iterator[int]:
        """Generate what is missing of the phantoms, then train the tokenizer; yields finished seeds."""
        shape = RECIPES[self.recipe](vocab_size=1)
        validation = range(VALIDATION_FIRST_SEED, VALIDATION_FIRST_SEED + shape.data.validation_cases)
        seeds = [*validation, *range(shape.data.train_cases)]
        yield from fill(self.store, seeds, shape.preprocessing, workers=workers)
        if not (self.folder / "tokenizer" / "vocab.txt").is_file():
            reports = (self.store.read_text(seed)["report"] for seed in range(shape.data.train_cases))
            train_tokenizer(reports, self.folder / "tokenizer")
        (self.folder / "config.json").write_text(json.dumps(self.config.to_json(), indent=1))

    def trainer(self) -> Trainer:
        """The pretraining stage at its last checkpoint, or at its start."""
        bank = SentenceBank.from_store(self.store, range(self.config.data.train_cases))
        batches = BatchMaker(self.store, self.config, bank, self.tokenize)
        initialise = partial(
            align_sentences,
            bank=bank,
            tokenize=self.tokenize,
            steps=self.config.sentence_steps,
            seed=self.config.seed,
        )
        trainer = Trainer(self.config, own_part(batches), self.folder, initialise=initialise, validate=self._validate)
        if trainer.resume():
            logger.info("Going on after step %d.", trainer.step)
        return trainer

    def structure_trainer(self) -> StructureTrainer:
        """The structure stage at its last checkpoint, or at its start; needs the pretrained encoder."""
        config = self._structure_config
        trainer = StructureTrainer(config, self.pretrained(), self.new_head(), store=self.store, folder=self.folder)
        if trainer.resume():
            logger.info("Going on after step %d.", trainer.step)
        return trainer

    def pretrained(self) -> ColipriModel:
        """The averaged encoder of the last checkpoint."""
        return self._finished().final_model()

    def report_decoder(self) -> ReportDecoder | None:
        """The averaged report decoder of the last checkpoint, if the recipe has one."""
        return self._finished().final_report_decoder()

    def _finished(self) -> Trainer:
        trainer = Trainer(self.config, _no_batches, self.folder)
        trainer.resume()
        return trainer

    @property
    def _structure_config(self) -> StructureConfig:
        return STRUCTURE_RECIPES[self.recipe.split("-")[0]](self.config)

    def new_head(self) -> StructureHead:
        """A structure head with fresh weights from the run's seed."""
        image, config = self.config.model.image, self._structure_config
        torch.manual_seed(self.config.seed + 1)
        return StructureHead(
            StructureHeadConfig(
                token_width=image.width,
                patch_size=image.patch_size,
                channels=config.channels,
                structures=config.structures,
            )
        )

    def tokenize(self, texts: list[str], max_length: int) -> tuple[Tensor, Tensor]:
        """Tokenise texts with the run's word pieces."""
        return tokenize(self._tokenizer, texts, max_length)

    @cached_property
    def _tokenizer(self) -> object:
        return load_tokenizer(self.folder / "tokenizer")

    def _validate(self, model: ColipriModel) -> dict[str, float]:
        texts = zero_shot.prompt_vectors(model, zero_shot.default_prompts(), self.tokenize)
        cases = (self.store.read(seed) for seed in self.validation_seeds)
        scores = zero_shot.score(model, cases, self.config.preprocessing, texts)
        figures = {"validation_macro_auroc": round(zero_shot.macro_auroc(scores), 4)}
        for index, name in enumerate(zero_shot.CT_RATE_FINDINGS):
            figures[f"auroc/{name}"] = round(zero_shot.auroc(scores, index), 3)
        return figures | {"validation_pointing": round(zero_shot.pointing(scores), 4)}


def own_part(batches: Callable[[int], Batch]) -> Callable[[int], Batch]:
    """This process's part of each global batch; every process makes the whole, which phantoms are small enough for."""
    here = world()
    return lambda step: batches(step).part(here.rank, here.size)


def _no_batches(step: int) -> None:
    msg = f"This trainer only holds weights; it was asked for the batch of step {step}."
    raise RuntimeError(msg)
