"""How good draft reports are on phantoms: clinical F1, places on lesions, flags on false and true sentences.

`python benchmarks/drafts.py STORE [--model tiny] [--cases 20] [--composed] [--json drafts.json]` prints a table and
writes JSON. STORE is a folder of prepared phantoms of the test split (`colipri-train evaluate --store`) on the model's
grid. The figures and how sentences are judged: `colipri_training/evaluation/drafts.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from colipri_core.engine import open_engine
from colipri_core.model.bundle import read_spec
from colipri_core.model.bundle import resolve_folder
from colipri_core.report import DraftOptions
from colipri_training.data.store import CaseStore
from colipri_training.evaluation.drafts import measure
from colipri_training.evaluation.drafts import summary
from colipri_training.phantoms.case import split_of

ROWS = {
    "macro_f1": "macro clinical F1",
    "place_overlap": "focal positive sentences, place on the lesion",
    "attention_overlap": "  the same for where the decoder looked",
    "own_flag_sensitivity": "the draft's false sentences, flagged",
    "own_flag_rate_on_true": "the draft's true sentences, flagged",
    "given_flag_sensitivity": "given false sentences, flagged",
    "given_flag_rate_on_true": "given true sentences, flagged",
}


def run(store: CaseStore, model: str, cases: int, options: DraftOptions) -> dict[str, Any]:
    """Draft and judge the first test cases of a store; what a model learned from is passed over."""
    folder = resolve_folder(model)
    if folder is None:
        msg = f"Expected a bundle folder or the name of a shipped one, got the hub id {model}. Download it first."
        raise SystemExit(msg)
    spacing = read_spec(folder).preprocessing.spacing_mm
    seeds = [seed for seed in store.seeds() if split_of(seed) == "test"][:cases]
    if not seeds:
        raise SystemExit("Expected phantoms of the test split, found none in the store.")
    with tempfile.TemporaryDirectory() as cache, open_engine(model, cache_dir=Path(cache)) as engine:
        results = measure(engine, [store.read(seed) for seed in seeds], spacing, options)
        written = engine.capabilities.report and not options.composed
        return {
            "model": engine.card.to_json(),
            "device": engine.device,
            "written_by": "report decoder" if written else "findings",
            "first_seed": seeds[0],
            **summary(results),
        }


def main() -> int:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--composed", action="store_true", help="compose the drafts from the findings")
    parser.add_argument("--json", type=Path, help="where the JSON goes")
    arguments = parser.parse_args()
    result = run(
        CaseStore(arguments.store), arguments.model, arguments.cases, DraftOptions(composed=arguments.composed)
    )
    print(f"{result['cases']} phantoms, {result['model']['name']} {result['model']['sha256'][:8]}")
    for key, name in ROWS.items():
        figure = result[key]
        shown = "-" if figure["value"] is None else "{value:6.3f}  ({low:.3f} to {high:.3f})".format(**figure)
        print(f"  {name:48s}{shown}")
    print(f"  {'distinct drafts':48s}{result['distinct_drafts']:6.3f}")
    print(f"  {'first sentence, seconds, median':48s}{result['first_sentence_s_median']:6.3f}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
