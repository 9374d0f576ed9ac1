"""Pretraining, evaluation and data generation for COLIPRI and T3D models."""
