"""The memory that runs took, by the results of earlier ones."""

import itertools
from collections.abc import Iterable
from pathlib import Path

from omegaconf import DictConfig

from softtargets.study.cells import SweepCell
from softtargets.system.files import read_json_or_none

LOOKED = 100
"""Number of results that are asked for the memory that their run took."""
DECIDING = ("dataset", "architecture")
"""Choices that decide how much memory a run takes."""


def peak_of_runs(config: DictConfig, cells: list[SweepCell], folder: Path) -> int | None:
    """Return the most memory that a run of such a sweep took, in bytes; None if no result says.

    Results of the sweep's own folder count, or else those in `runs_dir` of the same data and architectures.
    """
    wanted = {group: _choices(config, cells, group) for group in DECIDING}
    runs = Path(config.runs_dir)
    own, others = (_peaks(files, wanted) for files in (folder.glob("*/result.json"), _results(runs)))
    return max(own, default=None) or max(others, default=None)


def _results(runs: Path) -> Iterable[Path]:
    return itertools.chain(runs.glob("*/result.json"), runs.glob("*/*/result.json"))


def _choices(config: DictConfig, cells: list[SweepCell], group: str) -> set[str]:
    """Return the options of a group in a sweep: those swept, and the one that its config has."""
    words = (word.partition("=") for cell in cells for word in cell.overrides)
    return {config.hydra.runtime.choices[group], *(value for name, _, value in words if name == group)}


def _peaks(files: Iterable[Path], wanted: dict[str, set[str]]) -> list[int]:
    """Return the memory that the first `LOOKED` of these runs took, if they chose what is wanted."""
    results = (result for file in itertools.islice(files, LOOKED) if (result := read_json_or_none(file)))
    return [
        result["cost"]["peak_bytes"]
        for result in results
        if "peak_bytes" in result["cost"]
        and all(result["choices"][group].partition(" ")[0] in options for group, options in wanted.items())
    ]
