"""Lets torchvision's CUDA wheel be imported under CPU torch; the official package needs it, ours does not."""

from __future__ import annotations

import torch

_SHIM: list[torch.library.Library] = []


def install_torchvision_shim() -> None:
    """Declare the two operators that torchvision's CUDA wheel registers fake kernels for under CPU torch.

    timm, which the official package needs, imports torchvision; without its compiled part that import fails. Must run
    before the first import of torchvision, timm or transformers. Does nothing on a CUDA build of torch, where the
    compiled part loads, or when the operators are there.
    """
    if torch.version.cuda is not None or hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _SHIM.append(library)
