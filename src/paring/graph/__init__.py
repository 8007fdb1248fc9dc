"""Layers, coupled channels, and the edits that change structure."""
