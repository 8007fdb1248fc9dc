"""Pruning: which numbers, channels or layers a model can do without. One file per method."""
