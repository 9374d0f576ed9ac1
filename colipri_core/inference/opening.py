"""Which engine a model needs: the vision-language one, or the one that runs MONAI bundles."""

from __future__ import annotations

from pathlib import Path

from colipri_core.engine import Engine
from colipri_core.inference.local import LocalEngine
from colipri_core.inference.segmenters import segmenter_loader
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback


def load_engine(
    model: str | Path,
    *,
    device: str,
    cache_dir: Path | None,
    clicks_model: str | Path,
    progress: ProgressCallback | None,
    cancel: CancelToken | None,
) -> Engine:
    """Load a model; see `colipri_core.open_engine`."""
    segmenter = segmenter_loader(clicks_model)
    folder = Path(model).expanduser()
    if (folder / "configs").is_dir():
        from colipri_core.inference.monai_engine import MonaiEngine  # MONAI takes seconds to import

        return MonaiEngine.load(folder, device=device, segmenter=segmenter, progress=progress, cancel=cancel)
    return LocalEngine.load(
        model, device=device, cache_dir=cache_dir, progress=progress, cancel=cancel, segmenter=segmenter
    )
