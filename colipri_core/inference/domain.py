"""Whether a volume looks like a chest CT; if not, every result from it carries a warning.

The rule reads Hounsfield units alone, so that it holds for any model: aerated lung must make up a share of what lies in
the field of view, next to soft tissue. Thresholds are our choice, set between real chest CTs (whole chests, thin slabs and
crops) and what is no chest (abdomen, noise, windowed 8-bit images); `tests/core/test_domain.py` holds them to both.
"""

from __future__ import annotations

from colipri_core.inference.body import Body

MIN_LUNG_SHARE = 0.08
"""Smallest share of lung in lung + tissue for a chest."""

MIN_SOFT_TISSUE_SHARE = 0.25
"""Smallest share of soft tissue and bone in lung + tissue."""

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
