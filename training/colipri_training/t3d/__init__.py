"""T3D: learning from high-resolution sub-volumes with the report's help (after arXiv 2312.01529; design ours)."""
