"""How well the rule-based labeller agrees with manual labels of real chest CT reports.

`python benchmarks/labeller.py REPORTS.csv [--json labeller.json]` prints a table and writes JSON. The CSV has a column
`report_text` and one column of 0 and 1 for each of the 18 findings (the published training labels of CT-CLIP's report
classifier). The rules were written while looking at the even rows (0, 2, ...) alone; the odd ones were held out.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from colipri_core.language.labeller import label_report
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS

PARTS = {"seen": slice(0, None, 2), "held_out": slice(1, None, 2), "all": slice(None)}


def read_reports(path: Path) -> tuple[list[str], list[tuple[bool, ...]]]:
    """Return the texts and manual labels of a CSV, in its order."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = [tuple(float(row[name]) > 0 for name in CT_RATE_FINDINGS) for row in rows]
    return [row["report_text"] for row in rows], labels


def scores(truth: Sequence[tuple[bool, ...]], found: Sequence[tuple[bool, ...]]) -> dict[str, Any]:
    """Return precision, recall and F1 of each finding, and the mean F1."""
    findings = {}
    for index, name in enumerate(CT_RATE_FINDINGS):
        pairs = [(wanted[index], given[index]) for wanted, given in zip(truth, found, strict=True)]
        true, missed, wrong = (pairs.count(pair) for pair in ((True, True), (True, False), (False, True)))
        findings[name] = {
            "positives": true + missed,
            "precision": round(true / (true + wrong), 4) if true + wrong else None,
            "recall": round(true / (true + missed), 4) if true + missed else None,
            "f1": round(2 * true / (2 * true + wrong + missed), 4) if true + wrong + missed else None,
        }
    known = [finding["f1"] for finding in findings.values() if finding["f1"] is not None]
    return {"reports": len(truth), "macro_f1": round(sum(known) / len(known), 4), "findings": findings}


def measure(path: Path) -> dict[str, Any]:
    """Label all reports and compare."""
    texts, truth = read_reports(path)
    start = time.process_time()
    found = [label_report(text).vector for text in texts]
    seconds = (time.process_time() - start) / len(texts)
    parts = {name: scores(truth[part], found[part]) for name, part in PARTS.items()}
    return {"reports": path.name, "cpu_s_per_report": round(seconds, 5), "parts": parts}


def main() -> int:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", type=Path)
    parser.add_argument("--json", type=Path, help="where the JSON goes")
    arguments = parser.parse_args()
    result = measure(arguments.reports)
    for part, scored in result["parts"].items():
        print(f"{part} ({scored['reports']} reports): macro F1 {scored['macro_f1']:.3f}")
        for name, finding in scored["findings"].items():
            cells = "".join(f"{finding[key] or 0:10.3f}" for key in ("precision", "recall", "f1"))
            print(f"  {name:38s}{finding['positives']:5d}{cells}")
    print(f"{1000 * result['cpu_s_per_report']:.1f} ms of CPU time a report")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
