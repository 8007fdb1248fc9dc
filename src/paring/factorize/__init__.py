"""Low rank: one big matrix as a product of two thin ones. One file per method."""
