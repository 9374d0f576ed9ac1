"""What a run minimises: each objective is a small class over the batch and what the model made of it."""
