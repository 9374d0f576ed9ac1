"""Learning from corrections: the labels of a project fine-tune a structure head or the interactive segmenter."""
