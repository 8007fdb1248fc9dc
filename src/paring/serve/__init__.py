"""Serving over HTTP by the Open Inference Protocol V2, torch-free: `paring serve` and what stands behind it."""
