"""The worked studies, on the public verbs."""
