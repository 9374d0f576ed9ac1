"""Names for results in the style of BIDS derivatives (https://bids-specification.readthedocs.io)."""

from __future__ import annotations

import re


def derivative_name(case: str, *, description: str, kind: str, suffix: str) -> str:
    """Return a file name such as `sub-Case01_desc-structures_dseg.nii.gz`.

    Args:
        case: Name of the case; what BIDS does not allow in a label is dropped.
        description: What it shows, such as "structures"; treated likewise.
        kind: BIDS suffix: "dseg" for labelmaps, "map" for evidence maps, "ct" for volumes.
        suffix: File suffix with its dot, such as ".nii.gz".

    Raises:
        ValueError: If nothing is left of the case's name or the description.
    """
    labels = [re.sub(r"[^0-9A-Za-z]", "", text.removeprefix("sub-")) for text in (case, description)]
    if not all(labels):
        msg = f'A derivative needs letters or digits in the case ("{case}") and the description ("{description}").'
        raise ValueError(msg)
    return f"sub-{labels[0]}_desc-{labels[1]}_{kind}{suffix}"
