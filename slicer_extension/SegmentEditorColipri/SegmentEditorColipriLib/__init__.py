"""The effect's file, in a folder of its own, as Slicer loads effects."""
