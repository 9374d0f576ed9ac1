"""Prepared cases on disk, and the batches a run reads from them."""
