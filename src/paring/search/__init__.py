"""The search: recipes drawn, run and judged by their files until the time is up, the best so far always there."""
