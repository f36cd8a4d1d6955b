"""Parts of experiments, each built and checked once for all cells of a sweep that have it in common."""

import collections
import functools
import json
from collections.abc import Callable
from typing import TypeVar

from softtargets.config import contents
from softtargets.split import Sampled
from softtargets.types import Split

Part = TypeVar("Part")


class Parts:
    """Builds parts; of equal ones it returns the first."""

    def __init__(self):
        self._built: dict[str, object] = {}
        self._data: Split | None = None
        self._sampled: dict[tuple, Sampled] = {}
        self.tried: dict[str, set[str]] = collections.defaultdict(set)
        """Networks that have been tried, or looked at, by what tells them from networks of other kinds."""
        self.sha256_of = functools.cache(contents.sha256_of)

    def __call__(self, build: Callable[..., Part], *given: object) -> Part:
        """Return `build(*given)`; `given` are plain data, or classes. What `build` raises is raised each time."""
        key = json.dumps([build.__qualname__, *given], default=repr)  # 1, 1.0 and true are three settings
        if key not in self._built:
            self._built[key] = build(*given)
        return self._built[key]

    def sampled(self, draw: Callable[..., Sampled], data: Split, *given: object) -> Sampled:
        """Return `draw(data, *given)`. Samples are kept for the last data only, as they take much memory."""
        if self._data is not data:
            self._data, self._sampled = data, {}
        if given not in self._sampled:
            self._sampled[given] = draw(data, *given)
        return self._sampled[given]
