"""HTML as text in which nothing of a name can be markup: every text is escaped where it goes in."""

import html

from softtargets.errors import visible

EMPTY = frozenset({"br", "img", "input", "link", "meta", "path", "polygon", "polyline", "rect"})
"""Elements that have neither content nor, in HTML or SVG, an end of their own."""


class Markup(str):
    """A text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *inside: object, **attributes: object) -> Markup:
    """Return an element; texts in it are escaped, `Markup` is taken as it is, None and False are left out.

    An attribute loses a last `_` of its name (`class_`) and has `-` for other ones; True stands alone.

    >>> tag("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    shown = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    words = [key if value is True else f'{key}="{_text(value)}"' for key, value in shown.items() if _there(value)]
    start = " ".join([name, *words])
    if name in EMPTY:
        return Markup(f"<{start}/>")
    return Markup(f"<{start}>{joined(*inside)}</{name}>")


def joined(*parts: object) -> Markup:
    """Return parts one after the other, escaped as in `tag`."""
    return Markup("".join(part if isinstance(part, Markup) else _text(part) for part in parts if _there(part)))


def _there(value: object) -> bool:
    return value is not None and value is not False


def _text(value: object) -> str:
    """Escape a text; control characters, which a page could not show, become escapes."""
    return html.escape(visible(value))
