"""Data sets and in-memory batches."""
