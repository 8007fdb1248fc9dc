"""Measuring: quality, latency, memory and work of the exported file."""
