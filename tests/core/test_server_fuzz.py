"""A small share of `make fuzz`: requests made from the schema, and damaged bodies, against a real model's server."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from random_bundles import save_random_bundle
from support.fuzzing import Watch
from support.fuzzing import ask_by_schema
from support.fuzzing import fill_store
from support.fuzzing import prompt_oddly
from support.fuzzing import send_damaged
from support.fuzzing import watched
from support.serving import serving

from colipri_core.engine import open_engine


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Watch]]:
    folder = tmp_path_factory.mktemp("fuzz")
    bundle = save_random_bundle(folder / "bundle")
    (folder / "root").mkdir()
    with open_engine(bundle, device="cpu", cache_dir=folder / "cache") as engine:
        stores = {"lab": fill_store(engine, folder / "lab")}
        with (
            serving(engine, state=folder / "state", root=folder / "root", stores=stores) as url,
            watched(url, folder) as watch,
        ):
            yield url, watch
    assert watch.changed == []


def test_damaged_bodies_are_refused(served: tuple[str, Watch]) -> None:
    found = send_damaged(*served, count=300, seed=7)

    assert not [outcome for outcome in found if outcome.startswith(("5", "fault", "hang"))], found
    assert found["400"] > 150


def test_prompts_of_values_nobody_sends_are_answered_at_once(served: tuple[str, Watch]) -> None:
    start = time.monotonic()
    found = prompt_oddly(*served, count=60, seed=3)

    assert not [outcome for outcome in found if outcome.startswith(("5", "fault", "hang"))], found
    assert found["200"] > 5
    assert time.monotonic() - start < 60


def test_requests_made_from_the_schema_are_answered_as_it_says(served: tuple[str, Watch]) -> None:
    found = ask_by_schema(served[0], examples=3)

    assert not [outcome for outcome in found if outcome.startswith(("5", "fault"))], found
    assert sum(found.values()) >= 60
    assert found["404"] < sum(found.values()) / 4, found
