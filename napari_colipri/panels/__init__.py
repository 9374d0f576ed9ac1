"""The parts of the dock, one file each; they show what they are given and say what was clicked."""
