"""Types of settings, each with the range of values that it allows."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

# the upper bounds only keep a slip, such as 1e30, from overflowing a tensor or running for ever
Count = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Weight = Annotated[float, Field(ge=0, le=10**6)]


def _with_home(path: str) -> str:
    try:
        Path(path).expanduser()
    except RuntimeError:
        raise ValueError("names a home folder that is not known; give the path without ~") from None
    return path


Place = Annotated[str, Field(min_length=1), AfterValidator(_with_home)]
"""A path as a setting: not empty, and its `~` is a known home folder."""

Natural = Annotated[int, Field(ge=0, le=10**9)]

Fraction = Annotated[float, Field(gt=0, lt=1)]

Halves = Annotated[int, Field(ge=2, le=10**4, multiple_of=2)]
"""Number of models on halves of the data: even, since the other half of each trains one too."""
