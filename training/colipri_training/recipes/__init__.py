"""Runs as functions: each returns a whole, frozen config; a variant calls another and changes fields."""
