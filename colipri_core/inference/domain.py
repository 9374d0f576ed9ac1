"""Whether a volume looks like a chest CT; if not, every result from it carries a warning.

The rule reads Hounsfield units alone, so that it holds for any model: aerated lung must make up a share of what lies in
the field of view, next to soft tissue, and neighbouring places must resemble each other. Thresholds are our choice, set
between real chest CTs (whole chests, thin slabs and crops) and what is no chest (abdomens, noise, images that are not
in HU); `tests/core/test_domain.py` holds them to both.
"""

from __future__ import annotations

import numpy as np

from colipri_core.inference.body import Body

MIN_LUNG_SHARE = 0.08
"""Smallest share of lung in lung + tissue for a chest."""

MIN_SOFT_TISSUE_SHARE = 0.25
"""Smallest share of soft tissue and bone in lung + tissue."""

MIN_CORRELATION = 0.5
"""Smallest correlation of neighbouring 4 mm blocks; anatomy has 0.8 and more, noise has none."""

MIN_SEEN_LITRES = 0.05
"""Below this there is no body to speak of."""

_ADVICE = "The model was made for chest CT: its results for this volume are not reliable."


def domain_warnings(body: Body) -> tuple[str, ...]:
    """Return warnings if a prepared volume does not look like a chest CT.

    Args:
        body: Coarse masks of the prepared volume.
    """
    lung, soft, seen = shares(body)
    if seen < MIN_SEEN_LITRES:
        return (f"Out of distribution: no body was found in the model's field of view. {_ADVICE}",)
    correlation = neighbour_correlation(body)
    if correlation < MIN_CORRELATION:
        return (
            f"Out of distribution: this looks like noise, neighbouring places correlate by {correlation:.2f} "
            f"(expected {MIN_CORRELATION} or more). {_ADVICE}",
        )
    if lung < MIN_LUNG_SHARE:
        return (
            f"Out of distribution: this does not look like a chest CT, aerated lung is {lung:.0%} of the body in view "
            f"(expected {MIN_LUNG_SHARE:.0%} or more). {_ADVICE}",
        )
    if soft < MIN_SOFT_TISSUE_SHARE:
        return (
            f"Out of distribution: intensities do not look like HU, soft tissue is {soft:.0%} of the body in view "
            f"(expected {MIN_SOFT_TISSUE_SHARE:.0%} or more). {_ADVICE}",
        )
    return ()


def shares(body: Body) -> tuple[float, float, float]:
    """Return the shares of lung and of soft tissue in lung + tissue, and their volume in litres.

    Args:
        body: Coarse masks of the prepared volume.
    """
    lung, tissue = int(body.lung.sum()), int(body.tissue.sum())
    seen = lung + tissue
    litres = seen * body.geometry.voxel_volume_ml / 1000.0
    if seen == 0:
        return 0.0, 0.0, 0.0
    return lung / seen, tissue / seen, litres


def neighbour_correlation(body: Body) -> float:
    """Return the mean correlation of neighbouring blocks inside the body, over the three axes; 1 if all are equal.

    Args:
        body: Coarse masks of the prepared volume.
    """
    values = []
    for axis in range(3):
        lower, upper = (np.moveaxis(body.hu, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        mask = np.moveaxis(body.inside, axis, 0)
        both = mask[:-1] & mask[1:]
        if both.any() and lower[both].std() > 0 and upper[both].std() > 0:
            values.append(float(np.corrcoef(lower[both], upper[both])[0, 1]))
    return float(np.mean(values)) if values else 1.0
