"""Quantization: fewer bits per number, in kernels that use them. One file per method."""
