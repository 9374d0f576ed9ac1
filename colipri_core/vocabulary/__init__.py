"""Findings, structures and prompt wordings, with their codes."""
