"""Settings of a run: types and ranges, the resolved form, and the code that a config may name."""
