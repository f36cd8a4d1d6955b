"""Readers of files on disk: images and checkpoints, checked before they are used."""
