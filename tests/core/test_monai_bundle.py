"""MONAI bundles, written with MONAI's own tools: they outline on the scan's grid, and nothing of theirs is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.networks.nets import UNet
from safetensors.torch import save_file

import colipri_core as cc
from colipri_core.errors import BundleError
from colipri_core.errors import CapabilityError
from colipri_core.errors import UnsafeCheckpointError
from colipri_core.model.monai_bundle import load_monai_bundle
from colipri_core.model.monai_config import MonaiConfig

AFFINE = np.array([[0.0, 0.0, 2.2, -60.0], [-1.7, 0.0, 0.0, 90.0], [0.0, -1.5, 0.0, 40.0], [0.0, 0.0, 0.0, 1.0]])
SIZES = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [2]}
NAMES = {"0": "background", "1": "dense_organ", "2": "Liver"}
INFERENCE: dict[str, Any] = {
    "imports": ["$import os"],
    "bundle_root": ".",
    "highres": True,
    "image_key": "image",
    "pixdim": "$[2.0, 2.0, 2.0] if @highres else [4.0, 4.0, 4.0]",
    "modelname": "model.pt",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "network_def": {"_target_": "UNet", **SIZES},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "@image_key"},
            {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
            {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "@image_key", "pixdim": "@pixdim", "mode": "bilinear"},
            {
                "_target_": "monai.transforms.ScaleIntensityRanged",
                "keys": "@image_key",
                "a_min": -1000,
                "a_max": 1000,
                "b_min": -1.0,
                "b_max": 1.0,
                "clip": True,
            },
            {"_target_": "EnsureTyped", "keys": "@image_key"},
        ],
    },
    "inferer": {
        "_target_": "SlidingWindowInferer",
        "roi_size": [32, 32, 32],
        "sw_batch_size": 4,
        "overlap": 0.25,
        "device": "@device",
    },
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        ],
    },
    "checkpointloader": {"_target_": "CheckpointLoader", "load_path": "$@bundle_root + '/models/' + @modelname"},
    "run": ["$@evaluator.run()"],
}
METADATA: dict[str, Any] = {
    "version": "0.1.0",
    "name": "Dense organs",
    "data_source": "boxes",
    "network_data_format": {
        "inputs": {"image": {"type": "image", "modality": "CT", "num_channels": 1, "channel_def": {"0": "image"}}},
        "outputs": {"pred": {"type": "image", "num_channels": 3, "channel_def": NAMES}},
    },
}


class Thresholds(UNet):
    """A UNet whose weights do not matter: it takes brightness for class 1 above 0, for class 2 above 0.5."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits that follow from the intensities alone."""
        one = torch.where((x > 0) & (x < 0.5), 9.0, -9.0)
        two = torch.where(x >= 0.5, 9.0, -9.0)
        return torch.cat([torch.zeros_like(x), one, two], dim=1)


def write_bundle(folder: Path, *, inference: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None):
    """Write a bundle as the Model Zoo lays them out; returns its network."""
    torch.manual_seed(0)
    network = UNet(**SIZES)
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "inference.json").write_text(json.dumps({**INFERENCE, **(inference or {})}))
    (folder / "configs" / "metadata.json").write_text(json.dumps({**METADATA, **(metadata or {})}))
    (folder / "LICENSE").write_text("\nApache License 2.0\n")
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "organs")
    return tmp_path / "organs"


@pytest.fixture
def scan() -> cc.Volume:
    voxels = np.full((40, 30, 36), -900, dtype=np.int16)
    voxels[8:20, 6:24, 10:30] = 200
    voxels[26:36, 8:20, 12:24] = 800
    return cc.Volume(voxels=voxels, affine=AFFINE, name="boxes")


def test_the_configuration_means_what_it_means_to_monai(folder: Path) -> None:
    """The configuration means to MONAI's own parser what it means here."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    config = MonaiConfig(json.loads((folder / "configs" / "inference.json").read_text()), source="inference.json")
    assert config.value("pixdim") == parser.get_parsed_content("pixdim") == [2.0, 2.0, 2.0]
    assert config.value("checkpointloader#load_path") == parser.get_parsed_content("checkpointloader#load_path")
    theirs = parser.get_parsed_content("network_def").state_dict()
    ours = load_monai_bundle(folder).network.state_dict()
    assert theirs.keys() == ours.keys()


def test_probabilities_are_those_of_monais_own_pipeline(folder: Path, scan: cc.Volume) -> None:
    from monai.data import MetaTensor
    from monai.inferers import SlidingWindowInferer
    from monai.transforms import Compose
    from monai.transforms import Orientationd
    from monai.transforms import ScaleIntensityRanged
    from monai.transforms import Spacingd

    from colipri_core.inference.monai_windows import WindowRunner
    from colipri_core.progress import Reporter

    steps = Compose(
        [
            Orientationd(keys="image", axcodes="RAS"),
            Spacingd(keys="image", pixdim=[2.0, 2.0, 2.0], mode="bilinear"),
            ScaleIntensityRanged(keys="image", a_min=-1000, a_max=1000, b_min=-1.0, b_max=1.0, clip=True),
        ]
    )
    image = MetaTensor(torch.from_numpy(scan.voxels.astype(np.float32))[None], affine=torch.from_numpy(AFFINE))
    prepared = steps({"image": image})["image"]
    bundle = load_monai_bundle(folder)
    with torch.inference_mode():
        inferer = SlidingWindowInferer(roi_size=(32, 32, 32), sw_batch_size=4, overlap=0.25)
        expected = inferer(prepared.as_tensor()[None], bundle.network)[0].softmax(dim=0)
    found = WindowRunner(bundle, torch.device("cpu")).outline(scan, Reporter())
    np.testing.assert_allclose(found.probabilities, expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(found.grid.affine, np.asarray(prepared.affine), atol=1e-6)


def test_outlines_lie_on_the_scans_own_grid_where_the_network_sees_them(
    folder: Path, scan: cc.Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monai.networks.nets.UNet", Thresholds)
    with cc.open_engine(folder, device="cpu") as engine, engine.open(scan) as session:
        assert [concept.name for concept in engine.capabilities.structures] == ["Dense organ", "Liver"]
        assert engine.capabilities.structures[1].code == "SCT:10200004"
        found = session.segment()
        only = session.segment(["liver"])
    assert found.geometry == scan.geometry
    expected = np.select([scan.voxels == 200, scan.voxels == 800], [1, 2])
    for label in (1, 2):
        mask, truth = found.labelmap == label, expected == label
        assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.85
    assert set(np.unique(only.labelmap)) == {0, 2}
    assert 0 <= found.uncertainty < 0.2
    assert found.provenance is not None
    assert found.provenance.model.name == "Dense organs"
    assert found.provenance.model.licence == "Apache License 2.0"


def test_what_it_cannot_do_is_said_with_what_to_do(folder: Path, scan: cc.Volume) -> None:
    with cc.open_engine(folder, device="cpu") as engine, engine.open(scan) as session:
        assert not engine.capabilities.free_text
        assert engine.capabilities.findings == ()
        calls = (
            session.classify,
            lambda: session.evidence("effusion"),
            session.draft_report,
            session.embedding,
            session.regions,
            lambda: session.check_sentences(["No effusion."]),
            lambda: session.prompt(cc.Phrase(text="effusion")),
            lambda: engine.embed_text("effusion"),
        )
        for call in calls:
            with pytest.raises(CapabilityError, match='such as "tiny"'):
                call()


def test_prompts_and_edits_work_beside_it(folder: Path, scan: cc.Volume) -> None:
    with cc.open_engine(folder, device="cpu") as engine, engine.open(scan) as session:
        middle = scan.geometry.index_to_world((14, 15, 20))
        change = session.prompt(cc.Point(ras=tuple(float(at) for at in middle)))
        assert change.voxels_changed > 0
        session.undo()
        assert not session.segmentation.labelmap.any()


def test_safetensors_go_before_pickles(folder: Path) -> None:
    torch.manual_seed(7)
    other = UNet(**SIZES)
    save_file(other.state_dict(), folder / "models" / "model.safetensors")
    loaded = load_monai_bundle(folder).network.state_dict()
    for name, value in other.state_dict().items():
        assert torch.equal(loaded[name], value)


class TestRefusals:
    def refused(self, tmp_path: Path, match: str, *, error: type[Exception] = BundleError, **changes: Any) -> None:
        write_bundle(tmp_path / "organs", **changes)
        with pytest.raises(error, match=match):
            cc.open_engine(tmp_path / "organs", device="cpu")

    def test_a_class_that_is_not_on_the_list(self, tmp_path: Path) -> None:
        target = {"_target_": "subprocess.Popen", "args": ["touch", str(tmp_path / "ran")], "shell": True}
        self.refused(tmp_path, "not run", inference={"network_def": target})
        assert not (tmp_path / "ran").exists()

    def test_a_class_within_the_arguments(self, tmp_path: Path) -> None:
        nested = {"_target_": "UNet", **SIZES, "act": {"_target_": "os.system", "command": "true"}}
        self.refused(tmp_path, "a class to be made", inference={"network_def": nested})

    @pytest.mark.parametrize(
        "expression",
        [
            "$__import__('os').system('true')",
            "$[x for x in (1, 2)]",
            "$(lambda: 2)()",
            "$@bundle_root.upper()",
            "$'a' * 9 ** 9",
        ],
    )
    def test_an_expression_that_runs_code(self, tmp_path: Path, expression: str) -> None:
        sizes = {"_target_": "UNet", **SIZES, "channels": expression}
        self.refused(tmp_path, "never run", inference={"network_def": sizes})

    def test_references_in_a_circle(self, tmp_path: Path) -> None:
        sizes = {"_target_": "UNet", **SIZES, "channels": "@a"}
        self.refused(tmp_path, "in a circle", inference={"network_def": sizes, "a": "@b", "b": "@a"})

    def test_an_unknown_transform(self, tmp_path: Path) -> None:
        steps = {"transforms": [{"_target_": "Lambdad", "keys": "image", "func": "$print"}]}
        self.refused(tmp_path, "transforms#0", inference={"preprocessing": steps})

    def test_sizes_the_network_does_not_take(self, tmp_path: Path) -> None:
        self.refused(tmp_path, "UNet takes", inference={"network_def": {"_target_": "UNet", "depth": 3}})

    def test_weights_of_another_shape(self, tmp_path: Path) -> None:
        sizes = {"_target_": "UNet", **SIZES, "out_channels": 4}
        self.refused(tmp_path, "another shape", inference={"network_def": sizes})

    def test_an_mr_model(self, tmp_path: Path) -> None:
        formats = json.loads(json.dumps(METADATA["network_data_format"]))
        formats["inputs"]["image"]["modality"] = "MR"
        self.refused(tmp_path, "CT alone", metadata={"network_data_format": formats})

    def test_channels_without_names(self, tmp_path: Path) -> None:
        formats = json.loads(json.dumps(METADATA["network_data_format"]))
        del formats["outputs"]["pred"]["channel_def"]
        self.refused(tmp_path, "channel_def", metadata={"network_data_format": formats})

    def test_torchscript_alone(self, folder: Path) -> None:
        (folder / "models" / "model.pt").rename(folder / "models" / "model.ts")
        with pytest.raises(UnsafeCheckpointError, match="TorchScript"):
            load_monai_bundle(folder)

    def test_a_pickle_of_more_than_tensors(self, folder: Path) -> None:
        torch.save(UNet(**SIZES), folder / "models" / "model.pt")
        with pytest.raises(UnsafeCheckpointError, match="could run code"):
            load_monai_bundle(folder)

    def test_damaged_weights(self, folder: Path) -> None:
        (folder / "models" / "model.pt").write_bytes(b"nothing")
        with pytest.raises(UnsafeCheckpointError, match="could run code"):
            load_monai_bundle(folder)

    def test_no_weights_and_no_configuration(self, folder: Path) -> None:
        (folder / "models" / "model.pt").unlink()
        with pytest.raises(BundleError, match="found neither"):
            load_monai_bundle(folder)
        (folder / "configs" / "inference.json").unlink()
        with pytest.raises(BundleError, match="YAML is not"):
            load_monai_bundle(folder)

    def test_names_that_do_not_fit_the_network(self, folder: Path, scan: cc.Volume) -> None:
        formats = json.loads(json.dumps(METADATA["network_data_format"]))
        formats["outputs"]["pred"]["channel_def"] = {"0": "background", "1": "Liver"}
        (folder / "configs" / "metadata.json").write_text(json.dumps({**METADATA, "network_data_format": formats}))
        with (
            cc.open_engine(folder, device="cpu") as engine,
            engine.open(scan) as session,
            pytest.raises(BundleError, match="channel_def"),
        ):
            session.segment()
