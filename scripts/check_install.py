"""Check the environment the tests run in: the CPU build of torch on a machine without a GPU, and no CUDA packages."""

from __future__ import annotations

import argparse
import importlib.metadata
import shutil
import sys

import torch


def problems() -> list[str]:
    """Return one line for every way in which this environment is not the one that was asked for."""
    found = []
    if torch.version.cuda is not None:
        found.append(f"Expected the CPU build of torch, found {torch.__version__} (CUDA {torch.version.cuda}).")
    names = {distribution.name.lower() for distribution in importlib.metadata.distributions()}
    cuda = sorted(name for name in names if name.startswith("nvidia-"))
    if cuda:
        found.append(f"Expected no CUDA packages, found {', '.join(cuda)}.")
    return found


def main() -> int:
    """Report the problems; return 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--allow-cuda", action="store_true", help="accept a CUDA build without a GPU")
    if parser.parse_args().allow_cuda or shutil.which("nvidia-smi"):
        sys.stdout.write(f"torch {torch.__version__}: a CUDA build is accepted here\n")
        return 0
    found = problems()
    for line in found:
        sys.stderr.write(f"{line} Install with `-c constraints.txt`, torch first (see the Makefile).\n")
    sys.stdout.write("" if found else f"torch {torch.__version__}: CPU build, no CUDA packages\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
