"""Words for the screen."""

import shutil
import sys
import textwrap

from softtargets.errors import visible


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with what it counts; the plural is `many`, or ends with an s.

    >>> counted(1, "run"), counted(1500, "run"), counted(0, "entry", "entries")
    ('1 run', '1,500 runs', '0 entries')
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def in_lines(text: str, width: int | None) -> list[str]:
    """Return a text in lines of whole words; in one line without a width, as a file has none.

    A word that is longer than a line, such as a path, has one to itself, which a terminal wraps.

    >>> in_lines("a word and /a/long/path", 8)
    ['a word', 'and', '/a/long/path']
    """
    if width is None:
        return [text]
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [text]


def say(sentence: object) -> None:
    """Print a sentence; a terminal breaks it between words. Commands, which are copied, stay in one line."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in in_lines(visible(sentence), width):
        print(line)
