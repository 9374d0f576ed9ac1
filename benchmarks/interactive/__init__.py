"""Parts of the benchmark of interactive segmentation: objects, methods, simulated conversations."""
