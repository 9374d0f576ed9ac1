"""Cut the picture of the findings panel beside its heat map out of the picture of the whole window.

Usage: findings_picture.py WINDOW.png FINDINGS.png
"""

from __future__ import annotations

import sys

from PIL import Image

LEFT, TOP, BOTTOM = 0.26, 0.22, 0.66
"""Shares of the window's width and height that are cut away on the left and bounded above and below."""


def main(source: str, target: str) -> None:
    """Write the cut picture."""
    with Image.open(source) as window:
        width, height = window.size
        window.crop((round(LEFT * width), round(TOP * height), width, round(BOTTOM * height))).save(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
