"""The judge of drafts: what is true of a phantom, what lies near a lesion, and figures that follow from both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from nodule_phantoms import NODULE
from nodule_phantoms import stored
from random_bundles import save_random_bundle

from colipri_core.engine import open_engine
from colipri_core.geometry import VolumeGeometry
from colipri_core.report import Flag
from colipri_training.evaluation.drafts import CaseResult
from colipri_training.evaluation.drafts import Judged
from colipri_training.evaluation.drafts import is_near
from colipri_training.evaluation.drafts import is_true
from colipri_training.evaluation.drafts import measure
from colipri_training.evaluation.drafts import summary


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("There is a lung nodule.", True),
        ("Possible lung nodule.", True),
        ("No lung nodule.", False),
        ("No pleural effusion.", True),
        ("There is pleural effusion.", False),
        ("Lung nodule and pleural effusion are seen.", False),
        ("The trachea is in the midline.", None),
    ],
)
def test_what_is_true_of_a_phantom_with_a_nodule(text: str, truth: bool | None) -> None:
    assert is_true(text, frozenset({"Lung nodule"})) is truth


def test_near_is_within_reach_of_a_voxel_of_the_finding() -> None:
    case = stored(1, nodule=True)
    geometry = VolumeGeometry(shape=(48, 48, 48), affine=np.diag([8.0, 8.0, 8.0, 1.0]))
    voxel = geometry.index_to_world(np.argwhere(case.lesions)[0])
    place = (float(voxel[0]), float(voxel[1]), float(voxel[2]))
    away = (place[0] - 200.0, place[1], place[2])
    assert is_near(place, case, "Lung nodule", geometry, 8.0)
    assert not is_near(away, case, "Lung nodule", geometry, 8.0)
    assert is_near(away, case, "Lung nodule", geometry, 200.0)
    assert not is_near(place, case, "Emphysema", geometry, 8.0)
    assert not is_near(None, case, "Lung nodule", geometry, 8.0)


def test_figures_follow_from_what_was_judged() -> None:
    flagged = frozenset({Flag.CONTRADICTED})
    results = [
        CaseResult(
            text=f"draft {number}",
            labels=(True, False),
            said=(number < 3, False),
            place_hits=(number < 2,),
            attention_hits=(),
            own=(Judged(is_true=False, flags=flagged), Judged(is_true=True, flags=frozenset())),
            given=(
                Judged(is_true=True, flags=flagged),
                Judged(is_true=False, flags=flagged if number else frozenset()),
            ),
            first_sentence_s=0.5,
        )
        for number in range(4)
    ]
    figures = summary(results)
    assert figures["macro_f1"]["value"] == pytest.approx(2 * 3 / (4 + 3), abs=1e-4)
    assert figures["place_overlap"]["value"] == 0.5
    assert figures["attention_overlap"]["value"] is None
    assert (figures["own_flag_sensitivity"]["value"], figures["own_flag_rate_on_true"]["value"]) == (1.0, 0.0)
    assert (figures["given_flag_sensitivity"]["value"], figures["given_flag_rate_on_true"]["value"]) == (0.75, 1.0)
    assert figures["place_overlap"]["low"] < 0.5 < figures["place_overlap"]["high"]
    assert figures["counts"] == {
        "focal_positive_sentences": 4, "own_true": 4, "own_false": 4, "given_true": 4, "given_false": 4,
    }  # fmt: skip
    json.dumps(figures, allow_nan=False)


def test_a_model_that_writes_is_judged_by_what_it_writes(tmp_path: Path) -> None:
    bundle = save_random_bundle(tmp_path / "writer", writes="There is a lung nodule. No emphysema.")
    cases = [stored(1, nodule=True), stored(2, nodule=False)]
    with open_engine(bundle, device="cpu", cache_dir=tmp_path / "cache") as engine:
        with_nodule, without = measure(engine, cases, (8.0, 8.0, 8.0))
    assert [item.is_true for item in with_nodule.own] == [True, True]
    assert [item.is_true for item in without.own] == [False, True]
    assert len(with_nodule.place_hits) == len(with_nodule.attention_hits) == 1
    assert without.place_hits == ()
    assert [item.is_true for item in with_nodule.given] == [True, False]
    assert with_nodule.said[NODULE]
    assert with_nodule.first_sentence_s > 0
