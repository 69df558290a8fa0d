"""Altered copies of the source embeddings: removals, paths, noise; and which sources stay as they are."""
