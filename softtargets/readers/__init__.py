"""Readers of images and checkpoints, which check a file before it is used."""
