"""Settings of a run: their types and ranges, their resolved form, and what a config may name."""
