"""Outlines of what a phrase names: a phrase head on a frozen encoder."""
