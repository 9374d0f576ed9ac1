"""The COLIPRI plugin for napari."""
