"""Samples that the page shows."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Shown:
    """A sample of the forget set."""

    index: int
    """In the dataset's own training set."""
    class_name: str
    address: str
    """Its image as a PNG, in an address of the scheme data."""
