"""Were the two runs of a pair made alike? Where they were not, last bits may differ for that reason alone."""

import collections

from softtargets.report.runs import Run
from softtargets.system.words import counted

MADE = {
    "processor": ("provenance", "machine", "processor"),
    "device": ("provenance", "machine", "device"),
    "threads": ("provenance", "machine", "threads"),
    "precision of training": ("config", "training", "precision"),
    "precision of unlearning": ("config", "unlearn", "precision"),
    "SOFTTARGETS_PLAIN_TORCH": ("provenance", "machine", "plain_torch"),
    "torch": ("provenance", "versions", "torch"),
    "softtargets": ("provenance", "versions", "softtargets"),
    "commit": ("provenance", "git_commit"),
    "changes after the commit": ("provenance", "git_dirty"),
}
"""Where results say what changes last bits."""


def unlike(one: Run, other: Run) -> tuple[str, ...]:
    """Name in what the making of two runs differs; what either does not tell, as an older one, counts as alike."""
    values = {name: (_at(one, *way), _at(other, *way)) for name, way in MADE.items()}
    return tuple(name for name, (a, b) in values.items() if None not in (a, b) and a != b)


def _at(run: Run, *way: str) -> object:
    value = run.result
    for name in way:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def in_words(pairs: list[tuple[str, ...]]) -> str | None:
    """Say in a sentence how many pairs were not made alike, and in what they differ; None if all were."""
    counts = collections.Counter(name for differing in pairs for name in differing)
    if not counts:
        return None
    several = sum(map(bool, pairs))
    names = ", ".join(f"{name} ({count})" for name, count in counts.most_common())
    verb = "was" if several == 1 else "were"
    return f"{several:,} of {counted(len(pairs), 'pair')} {verb} not made alike: {names} differ"
