"""Training of the interactive segmenter on generated shapes and phantoms, with simulated users."""
