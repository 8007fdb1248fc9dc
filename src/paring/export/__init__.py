"""Writing, verifying and describing the file that ships."""
