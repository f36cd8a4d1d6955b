"""Unlearning algorithms, one a file: `name(original, forget, retain, fit, *, settings) -> unlearned`."""
