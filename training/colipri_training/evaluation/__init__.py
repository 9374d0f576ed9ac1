"""Measuring models: findings, probes, retrieval, reports and structures, on phantoms and on real volumes."""
