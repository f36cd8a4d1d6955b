"""Numbers as reports print them: as many digits as their interval needs, and no sign before a zero."""

import math
from collections.abc import Iterable

Real = float | int
MOST = 8
"""Decimals beyond which a number is written as a power of ten."""
HUGE = 1e7
"""From which on a number is written so, too."""
NEEDED = 1.0
"""Last places that a width takes up at least: fewer would hide it."""

SHOWN = 1e-4
"""Widths that are a smaller share of their numbers are shown as none: more digits are noise."""


def decimals(width: Real, least: int) -> int | None:
    """Return how many decimals show a width, at least so many; None where that is more than `MOST`.

    >>> decimals(0.07, 2), decimals(0.004, 2), decimals(1e-12, 2)
    (2, 3, None)
    """
    if not width or not math.isfinite(width):
        return least
    needed = math.ceil(
        math.log10(NEEDED) - math.log10(abs(width)) - 1e-9
    )  # their ratio may be too large for a float
    return None if needed > MOST else max(least, needed)


def written(values: Iterable[Real], least: int, width: Real | None = None, sign: str = "") -> list[str]:
    """Return numbers with the decimals that show `width`, or without it the smallest number; minus signs are "−".

    >>> written([0.23, 0.2, 0.27], 2, 0.07), written([0.0003], 2), written([-0.0], 2)
    (['0.23', '0.20', '0.27'], ['0.0003'], ['0.00'])
    >>> written([-0.0004, -0.0007, -0.0001], 2, 0.0006), written([3e-11], 4)
    (['−0.0004', '−0.0007', '−0.0001'], ['3e-11'])
    """
    values = list(values)
    if not width:  # equal edges are no interval
        width = min((abs(value) for value in values if value), default=0.0)
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    places = least if 0 < width < SHOWN * largest and largest < HUGE else decimals(width, least)
    return [_one(value, places, sign) for value in values]


def _one(value: Real, places: int | None, sign: str) -> str:
    extreme = places is None or abs(value) >= HUGE
    text = f"{value:{sign}.2g}" if extreme else f"{value:{sign}.{places}f}"
    if float(text) == 0:
        text = text.lstrip("-+")
    return text.replace("-", "−", 1) if text.startswith("-") else text


def number(value: Real, least: int, sign: str = "") -> str:
    """Return one number with at least so many decimals, and more where it is small."""
    return written([value], least, sign=sign)[0]


def with_interval(mean: Real, low: Real | None, high: Real | None, least: int, sign: str = "") -> str:
    """Return a mean and its interval, where there is one.

    >>> with_interval(0.0003, 0.0001, 0.0005, 2)
    '0.0003 [0.0001, 0.0005]'
    """
    if low is None or high is None:
        return number(mean, least, sign)
    shown = written([mean, low, high], least, high - low, sign)
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def percent(share: Real, low: Real | None = None, high: Real | None = None) -> str:
    """Return a share in per cent, and its interval.

    >>> percent(0.234, 0.2, 0.27), percent(0.0004), percent(-0.0)
    ('23% [20%, 27%]', '0.04%', '0%')
    """
    values = [100 * x for x in (share, low, high) if x is not None]
    shown = written(values, 0, None if len(values) < 3 else values[2] - values[1])
    return f"{shown[0]}%" + (f" [{shown[1]}%, {shown[2]}%]" if len(shown) == 3 else "")
