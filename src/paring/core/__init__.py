"""The nouns. Each is immutable and complete when it exists. Import them from their own file, or from `paring`."""
