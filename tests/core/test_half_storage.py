"""Weights stored in half precision: stated in the spec, refused where spec and file disagree, float32 once loaded."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from bundles import small_model
from bundles import small_spec
from bundles import small_tokenizer
from click_bundles import random_network
from click_bundles import spec
from safetensors.torch import load_file

from colipri_core.errors import BundleError
from colipri_core.model.bundle import load_bundle
from colipri_core.model.bundle import save_bundle
from colipri_core.model.click_bundle import load_click_bundle
from colipri_core.model.export import save_click_bundle
from colipri_core.model.spec import SPEC_FILE
from colipri_core.model.spec import WEIGHTS_FILE


@pytest.fixture
def half_clicks(tmp_path: Path) -> Path:
    folder = tmp_path / "half"
    save_click_bundle(folder, spec=dataclasses.replace(spec(), storage="float16"), network=random_network())
    return folder


def test_a_segmenter_is_stored_in_half_the_space_and_computes_in_float32(half_clicks: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    save_click_bundle(whole, spec=spec(), network=random_network())
    stored = {(t.ndim > 1, t.dtype) for t in load_file(half_clicks / WEIGHTS_FILE).values() if t.is_floating_point()}
    assert stored == {(True, torch.float16), (False, torch.float32)}
    sizes = [(folder / WEIGHTS_FILE).stat().st_size for folder in (half_clicks, whole)]
    assert sizes[0] < 0.6 * sizes[1]
    loaded = load_click_bundle(half_clicks)
    assert loaded.spec.storage == "float16"
    for name, value in loaded.network.state_dict().items():
        expected = random_network().state_dict()[name]
        assert value.dtype == expected.dtype
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-6)


def test_an_encoder_is_stored_in_half_the_space_too(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    tokenizer = small_tokenizer(tmp_path)
    save_bundle(folder, spec=small_spec(storage="float16"), model=small_model(), tokenizer=tokenizer)
    loaded = load_bundle(folder)
    assert {value.dtype for value in loaded.model.parameters()} == {torch.float32}
    for mine, theirs in zip(loaded.model.parameters(), small_model().parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-6)


def test_documents_without_the_field_mean_float32_and_stay_as_they_were(tmp_path: Path) -> None:
    save_click_bundle(tmp_path / "whole", spec=spec(), network=random_network())
    document = json.loads((tmp_path / "whole" / SPEC_FILE).read_text())
    assert "storage" not in document
    assert load_click_bundle(tmp_path / "whole").spec.storage == "float32"


def test_a_file_of_another_type_than_the_spec_says_is_refused(half_clicks: Path) -> None:
    document = json.loads((half_clicks / SPEC_FILE).read_text())
    del document["storage"]
    (half_clicks / SPEC_FILE).write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"Expected float32 weights .* found .* in float16"):
        load_click_bundle(half_clicks)


def test_an_unknown_storage_is_refused(half_clicks: Path) -> None:
    document = json.loads((half_clicks / SPEC_FILE).read_text())
    (half_clicks / SPEC_FILE).write_text(json.dumps({**document, "storage": "int4"}))
    with pytest.raises(BundleError, match="storage must be one of"):
        load_click_bundle(half_clicks)


def test_the_variance_of_a_layer_may_be_larger_than_half_precision_holds(tmp_path: Path) -> None:
    network = random_network()
    name = next(name for name, value in network.state_dict().items() if name.endswith("running_var"))
    network.state_dict()[name].fill_(1e6)
    save_click_bundle(tmp_path / "half", spec=dataclasses.replace(spec(), storage="float16"), network=network)
    loaded = load_click_bundle(tmp_path / "half").network.state_dict()[name]
    assert torch.equal(loaded, network.state_dict()[name])


def test_a_weight_that_half_precision_cannot_hold_is_not_stored(tmp_path: Path) -> None:
    network = random_network()
    next(parameter for parameter in network.parameters() if parameter.ndim > 1).data.fill_(1e6)
    with pytest.raises(ValueError, match="store float32"):
        save_click_bundle(tmp_path / "half", spec=dataclasses.replace(spec(), storage="float16"), network=network)
    assert not (tmp_path / "half").exists()
