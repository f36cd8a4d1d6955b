"""Readers of images on disk; each file is checked before it is used."""
