"""The vision-language model: image and text encoders, pooling, heads and bundles (needs torch)."""
