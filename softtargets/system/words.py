"""Words for the screen."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with what it counts; the plural is `many`, or ends with an s.

    >>> counted(1, "run"), counted(1500, "run"), counted(0, "entry", "entries")
    ('1 run', '1,500 runs', '0 entries')
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
