"""Which case to label next: the unlabelled ones a structure model is least sure of come first.

The score of a case is `Segmentation.uncertainty`: of the voxels the model takes for a structure, the share it expects
to be wrong by its own probabilities. It does not grow with the size of the scan. A model that is surely wrong scores
low, so the score chooses what to look at next and says nothing of how good the outlines are.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from colipri_core.engine import Engine
from colipri_core.errors import CapabilityError
from colipri_core.errors import InputError
from colipri_core.errors import VolumeWarning
from colipri_core.io import read_volume
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.project import LabelProject
from colipri_core.project import Ranked


def rank_cases(
    project: LabelProject,
    engine: Engine,
    *,
    names: Sequence[str] | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> dict[str, InputError]:
    """Ask a model about the cases that are to be done, and note in the project how unsure it is of each.

    Each answer is saved as it comes, so a cancelled ranking keeps what it has, and the next one goes on from there.

    Args:
        project: The project, changed in place.
        engine: A model that outlines structures.
        names: Cases to ask about, also again; None for the open ones that this model was not asked about yet.
        progress: Receives (fraction, message).
        cancel: Cancels between cases and within them.

    Returns:
        The cases that could not be read, each with its error; the others were ranked all the same.

    Raises:
        CapabilityError: If the model outlines no structures, or its engine does not say how sure it is.
        Cancelled: If `cancel` was set.
        OSError: If the project cannot be saved.
    """
    card = engine.card
    if not engine.capabilities.structures:
        msg = f'The model "{card.name}" outlines no structures, so it cannot rank cases. Open one that does.'
        raise CapabilityError(msg)
    if names is None:
        asked = {name for name, item in project.ranked.items() if item.sha256 == card.sha256}
        names = [case.name for case in project.cases if case.mark == "open" and case.name not in asked]
    report = Reporter(progress, cancel)
    failed: dict[str, InputError] = {}
    for number, name in enumerate(names):
        part = report.part(number / len(names), (number + 1) / len(names))
        part(0.0, f"Ranking {name}")
        try:
            value = _uncertainty(project, name, engine, part, cancel)
        except InputError as error:
            failed[name] = error
            continue
        project.rank(name, Ranked(value=value, model=card.name, sha256=card.sha256))
    report(1.0, "Ranked")
    return failed


def _uncertainty(
    project: LabelProject, name: str, engine: Engine, report: Reporter, cancel: CancelToken | None
) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VolumeWarning)  # said when the case is opened to be labelled
        volume = read_volume(project.path(name))
    with engine.open(volume) as session:
        value = session.segment(progress=report, cancel=cancel).uncertainty
    if value is None:
        msg = f'The engine behind "{engine.card.name}" does not say how sure it is. Rank with a model of this machine.'
        raise CapabilityError(msg)
    return round(value, 4)
