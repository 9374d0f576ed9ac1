"""Reports by a language model that sees the encoder's patch tokens: a projector and LoRA, the encoder frozen."""
