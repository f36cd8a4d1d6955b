"""How many runs were planned, finished, failed and matched: of a whole report, and of each of its arms."""

import collections
import dataclasses
import re
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TypeVar

from softtargets.config.tuned_on import SETTING
from softtargets.report.folders import ASIDE, Census, Lost
from softtargets.report.planned import Arm, arm_of_words
from softtargets.report.runs import BUDGET, SEARCHED, Run
from softtargets.system.words import counted

Key = TypeVar("Key", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class Counts:
    """Numbers of runs."""

    finished: int
    failed: int
    unfinished: int
    """They run, or were killed."""
    unbegun: int
    """Planned by a sweep, and never began."""
    diverged: int
    unmatched: int
    """Finished without divergence, and did not stay at matched forgetting."""
    aside: int
    """With a result that is damaged or odd, and is no part of the report."""
    is_planned: bool
    """Whether sweeps planned them all, so that none can be missing unseen."""

    @property
    def all(self) -> int:
        """Return the number of runs that are known."""
        return self.finished + self.failed + self.unfinished + self.unbegun + self.aside

    @property
    def shown(self) -> str:
        """Return the numbers in words; of what is rare those above 0."""
        start = "planned" if self.is_planned else "began"
        rare = {"still running or killed": self.unfinished, "never began": self.unbegun}
        rare["set aside (their files cannot be read)"] = self.aside
        parts = [
            f"{counted(self.all, 'run')} {start}",
            f"{self.finished:,} finished, {self.failed:,} failed",
        ]
        parts += [f"{count:,} {name}" for name, count in rare.items() if count]
        parts += [f"{self.diverged:,} diverged, {self.unmatched:,} did not stay at matched forgetting"]
        return ", ".join(parts if self.finished else parts[:-1])


@dataclasses.dataclass(frozen=True)
class Runless:
    """An arm of which no run finished."""

    counts: Counts
    why: str
    """The first error, or what is wrong with the first file; empty where no run failed."""

    @property
    def shown(self) -> str:
        """Return what became of its runs."""
        return f"{self.counts.shown}; the first: {self.why}" if self.why else self.counts.shown


def counts(runs: Sequence[Run], lost: Sequence[Lost], planned: int) -> Counts:
    """Count `runs` that finished and those that are lost, of which sweeps planned so many."""
    states = collections.Counter(one.state for one in lost)
    known = {name: states[name] for name in ("failed", "unfinished", "unbegun")} | {"aside": states[ASIDE]}
    diverged = sum(run.result["status"] == "diverged" for run in runs)
    unmatched = sum(
        run.result["matched"] is None
        and bool(run.result["trajectory"]["step"])
        and run.result["status"] != "diverged"
        for run in runs
    )
    there = len(runs) + sum(known.values())
    return Counts(len(runs), **known, diverged=diverged, unmatched=unmatched, is_planned=0 < there == planned)


def of_all(runs: Sequence[Run], known: Census) -> Counts:
    """Count all runs of a report."""
    lost = list(known.lost.values())
    planned = sum(run.folder in known.arm_of for run in runs) + sum(one.arm is not None for one in lost)
    return counts(runs, lost, planned)


def of_arms(runs: Sequence[Run], known: Census, arm_of: Callable[[Run], Key]) -> dict[Key, Counts]:
    """Count the runs of every arm, as `arm_of` names it.

    A run without a result belongs to the arm of the finished runs that its sweep planned with the same overrides,
    seeds aside; where they are of several arms, or none finished, to none.
    """
    finished: dict[Key, list[Run]] = collections.defaultdict(list)
    keys: dict[Arm, set[Key]] = collections.defaultdict(set)
    for run in runs:
        finished[arm_of(run)].append(run)
        if run.folder in known.arm_of:
            keys[known.arm_of[run.folder]].add(arm_of(run))
    lost: dict[Key, list[Lost]] = collections.defaultdict(list)
    for one in known.lost.values():
        if one.arm is not None and len(keys[one.arm]) == 1:
            lost[next(iter(keys[one.arm]))].append(one)
    return {
        key: counts(group, lost[key], sum(run.folder in known.arm_of for run in group) + len(lost[key]))
        for key, group in finished.items()
    }


def without_any(runs: Sequence[Run], known: Census) -> dict[str, Runless]:
    """Return the arms of which no run finished, by the overrides that not all arms have.

    Where no plan is left, the names of the runs' folders say of which arm they are.
    """
    finished = {known.arm_of.get(run.folder) or _named(run.folder) for run in runs}
    lost: dict[Arm, list[Lost]] = collections.defaultdict(list)
    for name, one in known.lost.items():
        arm = one.arm if one.arm is not None else _named(Path(name))
        if arm is not None and arm not in finished:
            lost[arm].append(one)
    # of a finished run without a plan or a name it is not known what it has in common with others
    arms = [set(arm or ()) for arm in (*known.arm_of.values(), *finished, *lost)]
    common = set.intersection(*arms) if arms else set()
    named: dict[str, list[Lost]] = collections.defaultdict(list)
    for arm, group in lost.items():
        named[" ".join(_typed(tuple(word for word in arm if word not in common))) or "the only arm"] += group
    return {name: _runless(group) for name, group in named.items()}


def _typed(arm: Arm) -> Arm:
    """Return overrides as a user types them: `tuned=searched` where a search chose all settings at a cost."""
    seen = next((word for word in arm if word.startswith(f"+{SETTING}=")), "")
    if re.search("[{,]cost:", seen):
        return (*(word for word in arm if not _is_chosen(word.partition("=")[0])), "=".join(SEARCHED))
    return tuple(word for word in arm if word != seen)


def _is_chosen(setting: str) -> bool:
    """Return whether a search chooses a setting, or it says so; the budget is the user's."""
    chosen = ("unlearn", "tuned", f"+{SETTING}")
    return setting in chosen or (setting != BUDGET and setting.startswith(("unlearn.", "mu_algo.")))


def overrides_in(arm: str) -> dict[str, str]:
    """Return the overrides by which an arm without a finished run is named; none for "the only arm"."""
    return dict(word.split("=", 1) for word in arm.split() if "=" in word)


def _runless(lost: Sequence[Lost]) -> Runless:
    why = next((one.why for one in lost if one.state in ("failed", ASIDE)), "")
    return Runless(counts([], lost, sum(one.arm is not None for one in lost)), why)


def _named(folder: Path) -> Arm | None:
    """Return the arm of a run by its folder, named by overrides and a hash as sweeps do it; None for any other."""
    overrides = re.fullmatch(r"(\S+=.+)-[0-9a-f]{12}", folder.name)
    return overrides and arm_of_words(re.split(r",(?=[\w.]+=)", overrides[1]))
