"""Edits: one structural change a file, each plain JSON-able data."""
