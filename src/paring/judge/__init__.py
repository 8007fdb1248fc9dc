"""Judging: one candidate exported, checked and measured by its own file."""
