"""Masked autoencoding on real CT that the run never saw: error on hidden patches against foretelling a mean.

Run from the repository root: `python -m benchmarks.reconstruction RUN [--data FOLDER] [--draws N]`. RUN is a
pretraining with a reconstruction weight. Of each scan, brought to the run's model grid, the recipe's share of the
patches is hidden, `--draws` times. Mean squared error in the model's units ([-1, 1]) over all hidden patches, and over
those that are not air, of three guesses: the decoder's; the mean of the visible voxels; and, harder to beat, the mean
of the nearest visible patch. Prints a table and writes benchmarks/results/reconstruction.json.
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from colipri_core.io import read_volume
from colipri_core.io.atomic import write_json
from colipri_core.preprocess import prepare
from colipri_training.data.batch import Masked
from colipri_training.evaluation.probed_volumes import CASES
from colipri_training.network import PretrainNetwork
from colipri_training.objectives.reconstruction import blank
from colipri_training.objectives.reconstruction import hidden_tokens
from colipri_training.objectives.reconstruction import visible_count
from colipri_training.run import Run

RESULTS = Path(__file__).parent / "results" / "reconstruction.json"
DATA = Path(os.environ.get("COLIPRI_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
AIR = -0.9
"""A patch whose voxels all lie below holds nothing: -900 HU in the window of the recipes."""
GUESSES = ("decoder", "visible_mean", "nearest_patch")


@torch.inference_mode()
def errors(network: PretrainNetwork, image_XYZ: Tensor, *, draws: int, seed: int) -> dict[str, dict[str, float]]:
    """Mean squared errors of each guess, over all hidden patches and over those that are not air.

    Args:
        network: With a decoder that foretells voxels.
        image_XYZ: A scan on the model grid.
        draws: How often patches are hidden.
        seed: Decides which.
    """
    decoder = network.reconstruction
    assert decoder is not None
    edge = decoder.patch_size
    patches_ND = rearrange(image_XYZ, "(x p) (y q) (z s) -> (x y z) (p q s)", p=edge, q=edge, s=edge)
    places_N3 = torch.cartesian_prod(*(torch.arange(size // edge).float() for size in image_XYZ.shape))
    generator = torch.Generator().manual_seed(seed)
    squared: dict[str, list[Tensor]] = {name: [] for name in GUESSES}
    full = []
    for _ in range(draws):
        score = torch.rand(1, len(patches_ND), generator=generator)
        visible_1V = score.topk(visible_count(len(patches_ND), decoder.config), dim=1).indices.sort(dim=1).values
        masked = Masked(images=image_XYZ[None, None], visible=visible_1V)
        hidden_1H = hidden_tokens(visible_1V, len(patches_ND))
        visible, hidden = visible_1V[0], hidden_1H[0]
        tokens = network.colipri.encode_tokens(blank(masked, decoder.patch_size), visible_1V)
        nearest = torch.cdist(places_N3[hidden], places_N3[visible]).argmin(dim=1)
        guesses = {
            "decoder": decoder.predict(tokens, masked, hidden_1H)[0],
            "visible_mean": patches_ND[visible].mean(),
            "nearest_patch": patches_ND[visible].mean(dim=1, keepdim=True)[nearest],
        }
        for name, guess in guesses.items():
            squared[name].append((guess - patches_ND[hidden]).square().mean(dim=1))
        full.append(patches_ND[hidden].amax(dim=1) > AIR)
    holds = torch.cat(full)
    rows = {name: torch.cat(parts) for name, parts in squared.items()}
    return {
        "all": {name: row.mean().item() for name, row in rows.items()},
        "not_air": {name: row[holds].mean().item() for name, row in rows.items()},
    }


def measure(folder: Path, data: Path, draws: int) -> dict[str, Any]:
    """Measure a run on all scans that are there.

    Raises:
        ValueError: If the run reconstructs nothing, or foretells patches less their mean.
    """
    run = Run.begun(folder)
    network = run.finished
    if not isinstance(network, PretrainNetwork) or network.reconstruction is None:
        msg = f"Expected a run with loss.reconstruction above 0 in {folder}, got the recipe {run.config.name} without."
        raise ValueError(msg)
    if network.reconstruction.config.normalise:
        msg = "Expected a run with reconstruction.normalise=false: without the means of patches no voxels are foretold."
        raise ValueError(msg)
    scans = {}
    for image in dict.fromkeys(case.image for case in CASES if (data / case.image).exists()):
        prepared = prepare(read_volume(data / image), run.config.preprocessing)
        scans[image] = errors(network, torch.from_numpy(prepared.array), draws=draws, seed=0)
    mean = {
        where: {name: float(np.mean([scan[where][name] for scan in scans.values()])) for name in GUESSES}
        for where in ("all", "not_air")
    }
    config = network.reconstruction.config
    return {"recipe": run.config.name, "mask_ratio": config.mask_ratio, "draws": draws, "mean": mean, "scans": scans}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    measured = measure(options.run, options.data, options.draws)
    for image, scan in {**measured["scans"], "mean of scans": measured["mean"]}.items():
        cells = "  ".join(f"{name} {scan['not_air'][name]:.4f}" for name in GUESSES)
        print(f"{image:45s} {cells}")
    write_json(options.output, {"machine": platform.machine(), "torch": torch.__version__, **measured})


if __name__ == "__main__":
    main()
