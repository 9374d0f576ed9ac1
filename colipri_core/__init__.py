"""COLIPRI in the viewer: the shared, torch-free core (volumes, results, engine)."""
