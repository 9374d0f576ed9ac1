"""How long the image encoder takes for one volume: ours and the official package's, on the same random weights.

    OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive python benchmarks/encoder.py     # published size on the CPU; minutes
    python benchmarks/encoder.py --device cuda                                 # ours on a GPU: eager and compiled
    python benchmarks/encoder.py --size small --output /tmp/e.json             # smoke test; seconds

Prints a table and writes JSON. On a CPU the official model runs as its users run it, in float32; ours runs its blocks
in bfloat16 and pools in float32, as the engine does. The two advance block by block in turn, so that both meet the same
load of the machine. "cpu_s" counts the seconds that all threads computed; with passive waiting it hardly depends on
what else runs, so judge by its ratio where the machine was not idle.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from collections.abc import Generator
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "parity")]

from official import Pair  # noqa: E402
from official import build_pair  # noqa: E402
from official import random_images  # noqa: E402
from official import small_config  # noqa: E402
from torchvision_shim import install_torchvision_shim  # noqa: E402

from colipri_core.model.config import ImageEncoderConfig  # noqa: E402
from colipri_core.model.config import ModelConfig  # noqa: E402
from colipri_core.model.rope import rope_table  # noqa: E402

PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "A40": 150.0}
"""Dense bfloat16 peaks of the vendor's data sheets, by a part of the device's name."""

SIZES = {"published": (ModelConfig.published(), (192, 192, 192)), "small": (small_config(), (48, 48, 48))}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured encoder.

    Attributes:
        name: What ran.
        wall_s: Seconds on the clock for one volume.
        cpu_s: Seconds computed by all threads; None on a GPU.
        cosine: Cosine of the pooled embedding with the official one in float32; None where there is no such run.
        memory_gib: Peak memory on a GPU; None on a CPU.
        peak_share: Share of the device's bfloat16 peak; None where the peak is not known.
    """

    name: str
    wall_s: float
    cpu_s: float | None = None
    cosine: float | None = None
    memory_gib: float | None = None
    peak_share: float | None = None


def forward_tflop(config: ImageEncoderConfig, num_tokens: int) -> float:
    """Return the floating-point operations of the blocks for one volume, in 10^12 (a product and a sum are two)."""
    linear = 2 * num_tokens * (4 * config.width**2 + 3 * config.width * config.hidden)
    attention = 4 * num_tokens**2 * config.width
    return config.depth * (linear + attention) / 1e12


def measure_cpu(size: str) -> list[Row]:
    """Encode one random volume with the official model and with ours."""
    config, shape = SIZES[size]
    pair = build_pair(config, shape)
    pair.ours.image_encoder.backbone.to(torch.bfloat16)
    images = random_images(shape)
    official, ours = _in_turn(_official_steps(pair, images), _our_steps(pair, images))
    return [
        Row(name="official, float32", wall_s=official.wall_s, cpu_s=official.cpu_s, cosine=1.0),
        Row(name="ours, bfloat16", wall_s=ours.wall_s, cpu_s=ours.cpu_s, cosine=_cosine(ours.pooled, official.pooled)),
    ]


def measure_cuda(size: str, *, repeats: int) -> list[Row]:
    """Encode random volumes one by one with our model in bfloat16, eager and compiled."""
    from colipri_core.model.colipri import ColipriModel

    config, shape = SIZES[size]
    model = ColipriModel(config).eval().cuda()
    model.image_encoder.backbone.to(torch.bfloat16)
    images = random_images(shape).cuda().to(torch.bfloat16)
    num_tokens = torch.Size(n // config.image.patch_size for n in shape).numel()
    peak = next((v for k, v in PEAK_TFLOPS.items() if k in torch.cuda.get_device_name()), None)
    rows = []
    for name in ("eager", "compiled"):
        backbone: Callable[[Tensor], Tensor] = model.image_encoder.backbone
        if name == "compiled":
            backbone = torch.compile(model.image_encoder.backbone)
        for _ in range(3):
            backbone(images)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        for _ in range(repeats):
            backbone(images)
        torch.cuda.synchronize()
        seconds = (time.perf_counter() - start) / repeats
        rows.append(
            Row(
                name=f"ours, bfloat16, {name}",
                wall_s=seconds,
                memory_gib=torch.cuda.max_memory_allocated() / 2**30,
                peak_share=peak and forward_tflop(config.image, num_tokens) / seconds / peak,
            )
        )
    return rows


def report(rows: list[Row], *, device: str, size: str) -> dict[str, object]:
    """Return the figures with what they were measured on."""
    document: dict[str, object] = {
        "size": size,
        "device": torch.cuda.get_device_name() if device == "cuda" else _cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rows": [asdict(row) for row in rows],
    }
    if device == "cpu":
        official, ours = rows[0], rows[-1]
        assert official.cpu_s is not None
        assert ours.cpu_s is not None
        document["ratio_cpu_s"] = ours.cpu_s / official.cpu_s
        document["ratio_wall_s"] = ours.wall_s / official.wall_s
    return document


Steps = Generator[None, None, Tensor]
"""Yields after the patch embedding and after each block; returns the pooled embedding (1, E)."""


@dataclass(kw_only=True)
class _Run:
    steps: Steps
    wall_s: float = 0.0
    cpu_s: float = 0.0
    pooled: Tensor = field(default_factory=lambda: torch.empty(0))

    def advance(self) -> bool:
        """Do one step on the clock; return whether there is another."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            next(self.steps)
            more = True
        except StopIteration as end:
            self.pooled, more = end.value, False
        self.wall_s += time.perf_counter() - wall
        self.cpu_s += time.process_time() - cpu
        return more


def _in_turn(*steps: Steps) -> list[_Run]:
    runs = [_Run(steps=each) for each in steps]
    more = True
    while more:
        more = any([run.advance() for run in runs])  # noqa: C419 - every run advances, whatever the first says
    return runs


def _official_steps(pair: Pair, images: Tensor) -> Steps:
    """The official backbone's forward pass, then its projector and pooler."""
    encoder = pair.official.image_encoder
    grid = encoder.backbone.down_projection(images)
    x, rope, _ = encoder.backbone.eva._pos_embed(grid.flatten(2).mT)
    yield
    for block in encoder.backbone.eva.blocks:
        x = block(x, rope=rope)
        yield
    grid = encoder.backbone.eva.norm(x).mT.unflatten(2, grid.shape[2:])
    pooled: Tensor = encoder.pooler(encoder.projector(grid).flatten(2).mT)
    return pooled


def _our_steps(pair: Pair, images: Tensor) -> Steps:
    """Our backbone's forward pass, then the projector and the pooler in float32."""
    backbone = pair.ours.image_encoder.backbone
    x, _ = backbone.down_projection(images.to(torch.bfloat16))
    rope = rope_table(backbone.grid_shape(images), backbone.config.head_dim, x.device)
    yield
    for block in backbone.eva.blocks:
        x = block(x, rope)
        yield
    return pair.ours.project_and_pool(backbone.eva.norm(x).mT.unflatten(2, backbone.grid_shape(images)).float())


def _cosine(a: Tensor, b: Tensor) -> float:
    return torch.nn.functional.cosine_similarity(a.double(), b.double()).min().item()


def _cpu_name() -> str:
    capabilities = torch.cpu.get_capabilities()
    fast = [name for name in ("avx512_bf16", "amx_bf16") if capabilities.get(name)]
    return f"{capabilities.get('cpu_name', platform.processor())} ({', '.join(fast) or 'no bfloat16 instructions'})"


def _print(document: dict[str, object], rows: list[Row]) -> None:
    print(f"{document['device']}, {document['threads']} threads, {document['size']} size")
    columns = ("wall_s", "cpu_s", "cosine", "memory_gib", "peak_share")
    print(f"{'':32}" + "".join(f"{column:>12}" for column in columns))
    for row in rows:
        values = (getattr(row, column) for column in columns)
        print(f"{row.name:32}" + "".join(f"{'-' if v is None else format(v, '.5g'):>12}" for v in values))
    for name in ("ratio_cpu_s", "ratio_wall_s"):
        if name in document:
            print(f"ours in bfloat16 / official, {name.removeprefix('ratio_')}: {document[name]:.3f}")


@torch.no_grad()
def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="published")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=int, default=10, help="volumes per timing on a GPU")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "encoder.json")
    options = parser.parse_args()
    install_torchvision_shim()
    on_cpu = options.device == "cpu"
    rows = measure_cpu(options.size) if on_cpu else measure_cuda(options.size, repeats=options.repeats)
    document = report(rows, device=options.device, size=options.size)
    _print(document, rows)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
