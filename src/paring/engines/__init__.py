"""Engines behind one small protocol. Importing this needs no torch."""
