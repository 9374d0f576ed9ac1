"""Run: the folder of one training run and the stages it goes through, each resumable.

cases/          prepared phantoms on the model grid; runs on prepared data sets have none
tokenizer/      word pieces: trained on the reports, or those of what the weights start from
start.json      what the weights start from, where they do not start random
config.json     the resolved config
stem.jsonl, stem.pt     the maps of the stem, where the recipe teaches them before the pretraining
log.jsonl, sentences.jsonl, tensorboard/, checkpoints/      pretraining
structures.jsonl, structures.pt     the structure head
stem.settings.json, structures.settings.json     what these stages do otherwise than the recipe
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from typing import TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from colipri_core.io.atomic import write_json
from colipri_core.model.colipri import ColipriModel
from colipri_core.model.dense_model import DenseModel
from colipri_core.model.encoder import PatchEmbedding
from colipri_core.model.report_decoder import ReportDecoder
from colipri_core.model.structure_head import StructureHead
from colipri_core.model.structure_head import StructureHeadConfig
from colipri_core.model.tokenizer import load_tokenizer
from colipri_core.model.tokenizer import tokenize
from colipri_training.beginning import Beginning
from colipri_training.beginning import has_tokenizer
from colipri_training.checkpoints import CheckpointError
from colipri_training.checkpoints import Checkpoints
from colipri_training.config import PretrainConfig
from colipri_training.config import RunConfig
from colipri_training.config import RunOptions
from colipri_training.config import StructureConfig
from colipri_training.data.batches import BatchMaker
from colipri_training.data.batches import own_part
from colipri_training.data.examples import PhantomExamples
from colipri_training.data.examples import PreparedExamples
from colipri_training.data.loader import VolumeLoader
from colipri_training.data.phantoms import fill
from colipri_training.data.prepared import PreparedVolumes
from colipri_training.data.sentences import StatementPool
from colipri_training.data.store import CaseStore
from colipri_training.data.text import SentenceBank
from colipri_training.data.text import train_tokenizer
from colipri_training.data.volume_batches import VolumeBatches
from colipri_training.data.volume_batches import loader_config
from colipri_training.distributed import wait_for_all
from colipri_training.distributed import world
from colipri_training.initialise import align_sentences
from colipri_training.initialise import point_at_findings
from colipri_training.network import PretrainNetwork
from colipri_training.network import scale_of
from colipri_training.networks import AnyNetwork
from colipri_training.networks import network_of
from colipri_training.phantoms.case import VALIDATION_FIRST_SEED
from colipri_training.recipes import t3d
from colipri_training.recipes.registry import STEM_RECIPES
from colipri_training.recipes.registry import STRUCTURE_RECIPES
from colipri_training.recipes.registry import check_recipe
from colipri_training.resolve import no_phantoms
from colipri_training.resolve import read_config
from colipri_training.resolve import refuse_another_grid
from colipri_training.resolve import resolve
from colipri_training.stage_settings import with_stage_settings
from colipri_training.start import read_start
from colipri_training.start import starting_weights
from colipri_training.stem import StemTrainer
from colipri_training.structures import Phantoms
from colipri_training.structures import StructureTrainer
from colipri_training.t3d.batches import T3DBatches
from colipri_training.t3d.batches import t3d_loader
from colipri_training.t3d.config import T3DConfig
from colipri_training.t3d.validation import T3DValidation
from colipri_training.trainer import Trainer
from colipri_training.validation import Validation

logger = logging.getLogger(__name__)

_Resumable = TypeVar("_Resumable", Trainer, StemTrainer, StructureTrainer)


class Run:
    """A run of a recipe in a folder.

    Args:
        recipe: Name of the recipe.
        folder: Its folder; made if absent.
        options: What it has besides.

    Raises:
        ValueError: If there is no such recipe.
    """

    def __init__(self, recipe: str, folder: Path, options: RunOptions | None = None) -> None:
        check_recipe(recipe)
        self.recipe = recipe
        self.folder = folder
        self.options = options or RunOptions()
        self._place = folder  # of the tokenizer and the note of where the weights come from

    @classmethod
    def begun(cls, folder: Path, recipe: str | None = None, options: RunOptions | None = None) -> Run:
        """A run that was begun in a folder, with the config it has.

        Args:
            folder: Its folder.
            recipe: Name that its recipe must have, if any.
            options: Of later stages.

        Raises:
            ValueError: If no run was begun there, or one of another recipe.
            CheckpointError: If its config is damaged.
        """
        config = read_config(folder)
        if recipe not in (None, config.name):
            msg = f'The run in "{folder}" is of the recipe "{config.name}", not "{recipe}".'
            raise ValueError(msg)
        run = cls(config.name, folder, options)
        run.config = config
        return run

    @cached_property
    def store(self) -> CaseStore:
        """The prepared phantoms."""
        return CaseStore(self.folder / "cases")

    @cached_property
    def config(self) -> RunConfig:
        """The resolved config; needs the tokenizer."""
        start = read_start(self._place)
        return self._resolve(start.vocab_size if start else len(self._tokenizer))

    def _resolve(self, vocab_size: int) -> RunConfig:
        return resolve(self.recipe, self.options, vocab_size=vocab_size)

    @property
    def validation_seeds(self) -> range:
        """Seeds of the validation phantoms."""
        return range(VALIDATION_FIRST_SEED, VALIDATION_FIRST_SEED + self.config.data.validation_cases)

    def prepare(self, *, workers: int = 1) -> Iterator[int]:
        """Generate what is missing of the phantoms, then train the tokenizer; yields finished seeds.

        A run that has begun keeps its tokenizer and its config.

        Raises:
            CheckpointError: If the run in the folder has begun, on another grid.
        """
        shape = self._resolve(vocab_size=1)
        begun = Checkpoints(self.folder / "checkpoints").exist
        if begun:
            refuse_another_grid(self.folder, shape)
        assert isinstance(shape, PretrainConfig), "a T3D run reads prepared data sets, which `_resolve` asks for"
        validation = range(VALIDATION_FIRST_SEED, VALIDATION_FIRST_SEED + shape.data.validation_cases)
        seeds = [*validation, *range(shape.data.train_cases)]
        yield from fill(self.store, seeds, shape.preprocessing, workers=workers)
        if not has_tokenizer(self.folder):
            reports = (self.store.read_text(seed)["report"] for seed in range(shape.data.train_cases))
            train_tokenizer(reports, self.folder / "tokenizer")
        if not begun:
            self._write_config()

    def trainer(self) -> Trainer:
        """The pretraining stage at its last checkpoint, or at its start."""
        with self._begin() as beginning:
            trainer = Trainer(
                self.config,
                self._batches(),
                self.folder,
                weights=None if beginning.begun else self._starting_weights(),
                initialise=self._initialise(),
                validate=self._validation(),
            )
            _resumed(trainer)  # a checkpoint of another config is refused before this one is written down
        self._place = self.folder
        if world().first:
            self._write_config()
        return trainer

    def stem_trainer(self, settings: Sequence[str] = ()) -> StemTrainer:
        """The stem stage at its last checkpoint, or at its start; needs the phantoms.

        Args:
            settings: Fields to set otherwise; kept with the run.

        Raises:
            ValueError: If the recipe has no such stage, or a setting does not fit.
        """
        config, teach = self.config, STEM_RECIPES.get(self.recipe)
        if teach is None or not isinstance(config, PretrainConfig):
            msg = f'The recipe "{self.recipe}" teaches no stem; those that do: {", ".join(STEM_RECIPES)}.'
            raise ValueError(msg)
        torch.manual_seed(config.seed)
        embedding = PatchEmbedding(config.model.image)
        taught = with_stage_settings(teach(config), self.folder, "stem", settings)
        return _resumed(StemTrainer(taught, embedding, store=self.store, folder=self.folder))

    def structure_trainer(self) -> StructureTrainer:
        """The structure stage at its last checkpoint, or at its start; needs the pretrained encoder, and phantoms."""
        config = self._structure_config
        volumes = Phantoms(self.store, count=config.train_cases, structures=len(config.structures))
        model, head = self.pretrained(), self.new_head()
        return _resumed(StructureTrainer(config, model, head, volumes=volumes, folder=self.folder))

    def structure_phantoms(self, *, workers: int = 1) -> Iterator[int]:
        """Generate what is missing of the phantoms that a structure head learns from; yields finished seeds."""
        config = self._structure_config
        yield from fill(self.store, list(range(config.train_cases)), config.preprocessing, workers=workers)

    def pretrained(self) -> ColipriModel | DenseModel:
        """The averaged encoders of the last checkpoint; of a T3D run the image encoder, which alone is shipped."""
        network = self.finished
        if isinstance(network, PretrainNetwork):
            return network.colipri
        model = DenseModel(network.config.encoder).eval()
        model.encoder.load_state_dict(network.encoder.state_dict())
        return model

    def report_decoder(self) -> ReportDecoder | None:
        """The averaged report decoder of the last checkpoint, if the recipe has one."""
        return self.finished.report if isinstance(self.finished, PretrainNetwork) else None

    @cached_property
    def sources(self) -> tuple[PreparedVolumes, ...]:
        """The prepared data sets that the run reads; none for phantoms."""
        folders = self.options.data or self.config.data.sources
        return tuple(PreparedVolumes(Path(folder).expanduser()) for folder in folders)

    def training_reports(self) -> list[str]:
        """The distinct reports of the training split of the prepared data sets."""
        volumes = (volume for source in self.sources for volume in source.volumes if volume.split == "train")
        return list(dict.fromkeys(volume.report for volume in volumes if volume.report is not None))

    @cached_property
    def finished(self) -> AnyNetwork:
        """The averaged network of the last checkpoint, with its learned temperature, in evaluation mode.

        Raises:
            CheckpointError: If there is none, or one of another config.
        """
        state = Checkpoints(self.folder / "checkpoints").load()
        told = "" if state is None else self.config.differences(state["config"])
        if state is None or told:
            found = "none" if state is None else f"one of another config ({told})"
            msg = f'Expected a checkpoint of this run in "{self.folder.name}", found {found}. Run `pretrain` first.'
            raise CheckpointError(msg)
        network = network_of(self.config).eval()
        network.load_state_dict(state["averaged" if self.config.optimizer.average else "network"])
        network.shipped(scale_of(state["network"]["log_scale"]))
        return network

    def _starting_weights(self) -> Callable[[Any], object] | None:
        """Loads what the run starts from into a fresh network, and the stem where that was taught."""
        start = starting_weights(self.config)
        if not (isinstance(self.config, PretrainConfig) and self.config.stem_taught):
            return start
        stage = self.stem_trainer()
        if not stage.done:
            command = f"colipri-train stem --recipe {self.recipe} --output {self.folder}"
            msg = (
                f"Expected a stem that has learned its {stage.steps} steps, found {stage.step}. Run `{command}` first."
            )
            raise ValueError(msg)

        def take(network: PretrainNetwork) -> None:
            if start is not None:
                start(network)
            stem = network.colipri.image_encoder.backbone.down_projection.stem
            assert stem is not None
            stem.load_state_dict(stage.stem.state_dict())

        return take

    def _begin(self) -> Beginning:
        """Provide the tokenizer and what the weights start from; the first process does, the others wait."""
        self._resolve(vocab_size=1)  # a wrong setting or recipe is said before anything is fetched
        options = self.options
        # A T3D run takes no more than the image encoder from `init`, which may have no words at all.
        init = None if self.recipe in t3d.recipes() else options.init
        beginning = Beginning(self.folder, init=init, text_init=options.text_init)
        self._place = beginning.place
        if world().first:
            beginning.provide()
            if not has_tokenizer(self._place) and options.data:
                train_tokenizer(self.training_reports(), self.folder / "tokenizer")
        wait_for_all()
        if not has_tokenizer(self._place):
            raise ValueError(no_phantoms(self.folder, self.recipe))
        return beginning

    def _batches(self) -> Callable[[int], Any]:
        config = self.config
        if isinstance(config, T3DConfig):
            return T3DBatches(t3d_loader(self.sources, config, world()), config, self.tokenize)
        if not config.data.sources:
            seeds = [*range(config.data.train_cases), *self.validation_seeds]
            if not all(seed in self.store for seed in seeds):
                raise ValueError(no_phantoms(self.folder, self.recipe))
            return own_part(BatchMaker(self.store, config, self._bank, self.tokenize))
        here = world()
        size = config.data.volumes.crop or config.preprocessing.size
        spec = dataclasses.replace(config.preprocessing, size=size)
        loader = VolumeLoader(self.sources, spec, loader_config(config), rank=here.rank, world=here.size)
        pool = StatementPool.from_reports(self.training_reports()) if config.loss.opposite else None
        return VolumeBatches(loader, config, pool, self.tokenize)

    def _initialise(self) -> Callable[[ColipriModel], list[float]] | None:
        config = self.config
        if not isinstance(config, PretrainConfig) or not (config.sentence_steps or config.stem_taught):
            return None
        words: dict[str, Any] = {"bank": self._bank, "tokenize": self.tokenize, "seed": config.seed}

        def initialise(model: ColipriModel) -> list[float]:
            losses = align_sentences(model, **words, steps=config.sentence_steps)
            if config.stem_taught:
                point_at_findings(model, **words)
            return losses

        return initialise

    def _validation(self) -> Callable[[Any], dict[str, float]]:
        config = self.config
        if isinstance(config, T3DConfig):
            return T3DValidation(self.sources, config, self.tokenize)
        most = config.data.validation_cases
        examples = (
            PreparedExamples(self.sources, config.preprocessing, most=most)
            if config.data.sources
            else PhantomExamples(self.store, self.validation_seeds, config.preprocessing)
        )
        return Validation(examples, self.tokenize, max_report_length=config.data.max_report_length)

    @cached_property
    def _bank(self) -> SentenceBank:
        assert isinstance(self.config, PretrainConfig), "only phantoms have a bank of sentences"
        return SentenceBank.from_store(self.store, range(self.config.data.train_cases))

    @property
    def _structure_config(self) -> StructureConfig:
        base = t3d.base_of(self.recipe) if self.recipe in t3d.recipes() else self.recipe.split("-")[0]
        if base not in STRUCTURE_RECIPES:
            known = ", ".join(STRUCTURE_RECIPES)
            msg = f'The recipe "{self.recipe}" has no structure head; these and their variants have one: {known}.'
            raise ValueError(msg)
        config = STRUCTURE_RECIPES[base](self.config)
        return with_stage_settings(config, self.folder, "structures", self.options.structures)

    def new_head(self) -> StructureHead:
        """A structure head with fresh weights from the run's seed."""
        config, model = self._structure_config, self.pretrained()
        torch.manual_seed(self.config.seed + 1)
        return StructureHead(
            StructureHeadConfig(
                token_width=model.width,
                patch_size=model.patch_size,
                channels=config.channels,
                structures=config.structures,
            )
        )

    def tokenize(self, texts: list[str], max_length: int) -> tuple[Tensor, Tensor]:
        """Tokenise texts with the run's word pieces."""
        return tokenize(self._tokenizer, texts, max_length)

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerFast:
        return load_tokenizer(self._place / "tokenizer")

    def _write_config(self) -> None:
        write_json(self.folder / "config.json", self.config.to_json())


def _resumed(stage: _Resumable) -> _Resumable:
    """A stage at its last checkpoint, if it has one."""
    if stage.resume():
        logger.info("Going on after step %d.", stage.step)
    return stage
