"""How well similar cases, lesions and phrases are found, on generated phantoms with known findings and lesions.

`python benchmarks/retrieval.py PHANTOMS [--cases 200] [--model tiny] [--json benchmarks/results/retrieval.json]`, where
PHANTOMS is a folder that the training package filled with held-out phantoms, prints a table and writes JSON. All cases
are searched; lesions are looked for from the first `--lesions-of` of them. Every number is a mean over findings, so
that frequent ones do not decide it. P@5: share of the five nearest other cases that have the finding of the query.
R@10: share of the cases with a finding that are among the ten nearest to its name (of ten, where there are more); for
reports, how often the case a report was written for is among the ten nearest.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import colipri_core as cc
from colipri_core.cases import CaseSource
from colipri_core.cases import Embedding
from colipri_core.engine import Engine
from colipri_core.errors import VolumeWarning
from colipri_core.index import CaseStore
from colipri_core.index import open_store
from colipri_core.index.add import encode_volume
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data.store import CaseStore as PhantomStore
from colipri_training.phantoms.case import split_of

logger = logging.getLogger(__name__)

BATCH = 32
"""Cases that are stored at once."""

SMALL_ML = 10.0
"""Lesions up to this volume, all of one finding in one case together, are the small ones."""

SPACING_MM = 4.0
Labels = npt.NDArray[np.bool_]


class DrawnLesion:
    """All lesions of one finding in one phantom; implements `colipri_core.cases.RegionMask`.

    Args:
        mask: On the phantom's grid.
    """

    lower = (0, 0, 0)

    def __init__(self, mask: Labels) -> None:
        self.mask = mask


def volume_of(voxels: npt.NDArray[Any], name: str) -> cc.Volume:
    """A phantom as a volume."""
    return cc.Volume(voxels=voxels, affine=np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0]), name=name)


def fill(store: CaseStore, engine: Engine, phantoms: PhantomStore, seeds: Sequence[int]) -> dict[str, Any]:
    """Encode phantoms into a store; return their labels, histograms and whole-volume queries."""
    labels = np.zeros((len(seeds), len(CT_RATE_FINDINGS)), dtype=bool)
    histograms, records = [], []
    queries: list[Embedding] = []
    for row, seed in enumerate(seeds):
        case = phantoms.read(seed)
        labels[row, list(case.present)] = True
        findings = tuple(CT_RATE_FINDINGS[index] for index in case.present)
        source = CaseSource(case=str(seed), path=str(seed), report=case.report, findings=findings)
        records.append(encode_volume(engine, source, volume_of(case.hu, str(seed))))
        counts, _ = np.histogram(case.hu, bins=np.linspace(-1000, 1000, 65))
        histograms.append(counts / np.linalg.norm(counts))
        if len(records) == BATCH or seed == seeds[-1]:
            store.add(records)
            queries += [record.embedding for record in records]
            records = []
            logger.info("%d of %d cases stored", len(queries), len(seeds))
    store.tidy()
    return {"labels": labels, "histograms": np.stack(histograms), "queries": queries}


def share_with(labels: Labels, rows: Sequence[int], finding: int) -> float:
    """Share of some cases that have a finding."""
    return float(labels[list(rows), finding].mean())


def similar(store: CaseStore, known: dict[str, Any], row_of: dict[str, int]) -> dict[str, float]:
    """P@5 of whole volumes, of intensity histograms, and of cases drawn by chance."""
    labels, histograms = known["labels"], known["histograms"]
    closeness = histograms @ histograms.T
    np.fill_diagonal(closeness, -1)
    by_histogram = np.argsort(-closeness, axis=1)[:, :5]
    ours = [neighbours(store, query, row, row_of) for row, query in enumerate(known["queries"])]

    def score(rows: Callable[[int], Sequence[int]]) -> float:
        found = [
            np.mean([share_with(labels, rows(row), finding) for row in np.flatnonzero(labels[:, finding])])
            for finding in range(labels.shape[1])
            if labels[:, finding].sum() > 1
        ]
        return round(float(np.mean(found)), 4)

    everyone = list(range(len(labels)))
    return {
        "whole_volume": score(lambda row: ours[row]),
        "intensity_histogram": score(lambda row: by_histogram[row]),
        "chance": score(lambda row: [other for other in everyone if other != row]),
    }


def neighbours(
    store: CaseStore, query: Embedding, row: int, row_of: dict[str, int], *, by_region: bool = False
) -> list[int]:
    """Rows of the five nearest other cases."""
    matches = store.search(query, 6, by_region=by_region)
    return [row_of[match.case] for match in matches if row_of[match.case] != row][:5]


def lesions(
    store: CaseStore,
    engine: Engine,
    phantoms: PhantomStore,
    known: dict[str, Any],
    row_of: dict[str, int],
    *,
    asking: int,
) -> dict[str, Any]:
    """P@5 of a lesion's region and of the whole volume it is in, for the same queries, from the first cases."""
    labels = known["labels"]
    found: dict[str, dict[str, list[float]]] = {}
    for case, row in itertools.islice(row_of.items(), asking):
        others = [other for other in row_of.values() if other != row]
        whole = neighbours(store, known["queries"][row], row, row_of)
        for finding, size, query in lesion_queries(engine, phantoms, case):
            region = neighbours(store, query, row, row_of, by_region=True)
            for group in ("all", size):
                key = f"{group}/{CT_RATE_FINDINGS[finding]}"
                entry = found.setdefault(key, {"region": [], "whole_volume": [], "chance": []})
                for name, rows in (("region", region), ("whole_volume", whole), ("chance", others)):
                    entry[name].append(share_with(labels, rows, finding))
        if not (row + 1) % BATCH:
            logger.info("lesions of %d cases asked", row + 1)
    sizes = ("all", "small", "large")
    return {size: _summary({key: entry for key, entry in found.items() if key.startswith(size)}) for size in sizes}


def lesion_queries(engine: Engine, phantoms: PhantomStore, case: str) -> Iterator[tuple[int, str, Embedding]]:
    """Index, size and vector of each focal finding that is drawn in a phantom."""
    phantom = phantoms.read(int(case))
    with engine.open(volume_of(phantom.hu, case)) as session:
        for finding in phantom.present:
            mask = (phantom.lesions >> finding) & 1 > 0
            if CT_RATE_CONCEPTS[finding].focal and mask.any():
                small = mask.sum() * SPACING_MM**3 / 1000 <= SMALL_ML
                yield finding, "small" if small else "large", session.embedding(DrawnLesion(mask))


def _summary(found: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    by_finding = {}
    for key, entry in found.items():
        means = {name: round(float(np.mean(values)), 4) for name, values in entry.items()}
        by_finding[key.partition("/")[2]] = {"queries": len(entry["region"]), **means}
    names = ("region", "whole_volume", "chance")
    means = {name: round(float(np.mean([row[name] for row in by_finding.values()])), 4) for name in names}
    return {"queries": sum(row["queries"] for row in by_finding.values()), **means, "by_finding": by_finding}


def phrases(store: CaseStore, engine: Engine, known: dict[str, Any], row_of: dict[str, int]) -> dict[str, Any]:
    """R@10 and P@10 of finding names, searched as the command does and as plain text against whole volumes."""
    labels = known["labels"]
    ways = {"search": (True, True), "plain_text_whole_volume": (False, False)}
    found: dict[str, Any] = {}
    for way, (contrast, by_region) in ways.items():
        precision, recall = [], []
        for finding, name in enumerate(CT_RATE_FINDINGS):
            if labels[:, finding].any():
                matches = store.search(engine.embed_text(name, contrast=contrast), 10, by_region=by_region)
                hits = sum(labels[row_of[match.case], finding] for match in matches)
                precision.append(hits / 10)
                recall.append(hits / min(10, labels[:, finding].sum()))
        found[way] = {"p_at_10": round(float(np.mean(precision)), 4), "r_at_10": round(float(np.mean(recall)), 4)}
    found["chance"] = {"p_at_10": round(float(labels.mean(axis=0).mean()), 4)}
    return found


def reports(store: CaseStore, engine: Engine, row_of: dict[str, int]) -> dict[str, float]:
    """R@10 of a case by its own report."""
    cases = list(store.cases())
    queries = engine.embed_texts([case.report for case in cases])
    hits = [
        case.case in {match.case for match in store.search(query, 10)}
        for case, query in zip(cases, queries, strict=True)
    ]
    return {"r_at_10": round(float(np.mean(hits)), 4), "chance": round(10 / len(row_of), 4)}


def measure(folder: Path, *, cases: int, lesions_of: int | None, model: str, cache: Path | None) -> dict[str, Any]:
    """Fill a store with phantoms and search it."""
    warnings.simplefilter("ignore", VolumeWarning)
    phantoms = PhantomStore(folder)
    seeds = [seed for seed in phantoms.seeds() if split_of(seed) == "test"][:cases]
    if not seeds:
        raise SystemExit("Expected phantoms of the test split, found none in the folder.")
    row_of = {str(seed): row for row, seed in enumerate(seeds)}
    with tempfile.TemporaryDirectory() as place, cc.open_engine(model, cache_dir=cache) as engine:
        store = open_store(Path(place, "store"), "w")
        known = fill(store, engine, phantoms, seeds)
        asking = min(lesions_of or len(seeds), len(seeds))
        return {
            "model": {"name": engine.card.name, "sha256": engine.card.sha256},
            "pool": len(seeds),
            "lesions_of_cases": asking,
            "parts_a_case": round(store.info().regions / len(seeds), 1),
            "same_finding_p_at_5": similar(store, known, row_of),
            "lesion_p_at_5": lesions(store, engine, phantoms, known, row_of, asking=asking),
            "phrase": phrases(store, engine, known, row_of),
            "report_to_scan": reports(store, engine, row_of),
        }


def main() -> int:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phantoms", type=Path)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--lesions-of", type=int, help="look for lesions of so many cases; of all if omitted")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--cache", type=Path, help="where encoded features are kept")
    parser.add_argument("--json", type=Path, help="where the JSON goes")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    result = measure(
        arguments.phantoms,
        cases=arguments.cases,
        lesions_of=arguments.lesions_of,
        model=arguments.model,
        cache=arguments.cache,
    )
    print(json.dumps(result, indent=2))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
