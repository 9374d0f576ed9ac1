"""Measuring a model: on held-out phantoms, and on real volumes with masks."""
