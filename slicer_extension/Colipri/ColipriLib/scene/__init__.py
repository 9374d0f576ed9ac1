"""Between MRML nodes and the data types of the core; nodes and scene are handed in, and nothing is asked of Qt.

Frames. Slicer's arrays are indexed `[k, j, i]`, the core's `[i, j, k]`; `volumes` is the edge where they are turned.
World is RAS+ mm in both. A volume's affine is its parent transform to world times its IJK-to-RAS matrix, so positions
that markups give in world coordinates are positions in the volume as they stand. All of this runs on the main thread.
"""
