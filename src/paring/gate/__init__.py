"""The gate of a delivery pipeline: a new artifact against the one in service, by their files."""
