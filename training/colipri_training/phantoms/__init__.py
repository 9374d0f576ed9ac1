"""Seeded synthetic chest CT phantoms with masks, findings and reports."""
