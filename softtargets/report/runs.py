"""The runs of a folder, read from what they left there."""

import collections
import dataclasses
import functools
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy
from omegaconf import OmegaConf

from softtargets import RESULT_SCHEMA
from softtargets.disk import Damaged, read_json
from softtargets.errors import BadInput
from softtargets.help import CONF
from softtargets.settings import flat

FACTORS = ("dataset", "architecture", "forget_set", "forget_seed", "mu_algo", "training", "unlearn")
"""Choices that make a cell, within which arms are compared."""
OWN = ("seed", "device", "threads", "precision", "choices")
"""Settings that make neither a cell nor an arm."""
Settings = tuple[tuple[str, object], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One finished run."""

    folder: Path
    result: dict
    cell: Settings
    """Choices, and whatever else was varied that is no matter of targets."""
    arm: str
    """Its targets."""

    @property
    def seed(self) -> int:
        """Return the run's seed, by which runs are paired."""
        return self.result["choices"]["seed"]

    def arrays(self, *names: str) -> list[numpy.ndarray]:
        """Read arrays of margins.npz; raises BadInput where it is missing or damaged."""
        file = self.folder / "margins.npz"
        try:
            with numpy.load(file) as left:
                return [left[name] for name in names]
        except (OSError, ValueError, KeyError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
            raise BadInput(
                f"{file}: missing or damaged ({error}); take its run's folder away, or make it again"
            ) from error

    @property
    def name(self) -> str:
        """Return how to find it."""
        return self.folder.name


def read(folder: Path) -> list[Run]:
    """Read every finished run below `folder`; raises BadInput where there is none, or one of another version."""
    found = [(file.parent, _result(file)) for file in sorted(folder.rglob("result.json"))]
    if not found:
        raise BadInput(f"{folder}: no finished run below it; give a sweep's folder, which holds result.json files")
    groups = collections.defaultdict(list)
    for place, result in found:
        groups[_chosen(result), _targets(result["choices"])].append((place, result))
    return [run for (chosen, arm), group in groups.items() for run in _named(chosen, arm, group)]


def _result(file: Path) -> dict:
    try:
        result = read_json(file)
        version = result["schema"]
    except Damaged as error:
        raise BadInput(f"{error}; take it away to report on the others, or call its sweep again") from error
    except KeyError as error:
        raise BadInput(f"{file}: not the result of a run; take the file away to report on the others") from error
    if version != RESULT_SCHEMA or "config" not in result:
        raise BadInput(f"{file}: of another version, whose results this one (schema {RESULT_SCHEMA}) cannot read")
    return result


def _chosen(result: dict) -> Settings:
    return tuple((name, result["choices"][name]) for name in FACTORS)


def _targets(choices: dict) -> str:
    """Name targets by their preset, and by a side that is not the preset's own."""
    name = choices["targets"]
    other = {
        side: choices.get(f"targets_{side}")
        for side, own in _sides(name).items()
        if choices.get(f"targets_{side}") not in (own, None)
    }
    return " ".join([name, *(f"{side}={kind}" for side, kind in other.items())])


@functools.cache
def _sides(preset: str) -> dict[str, str]:
    """Return the kinds of a preset of ours; nothing is known of a user's own."""
    file = CONF / "targets" / f"{preset}.yaml"
    if not re.fullmatch(r"\w+", preset) or not file.is_file():
        return {}
    return {side: kind for entry in OmegaConf.load(file).defaults for side, kind in entry.items()}


def _named(chosen: Settings, arm: str, group: list[tuple[Path, dict]]) -> Iterator[Run]:
    """Tell runs of the same choices apart by the settings in which they differ."""
    configs = [dict(flat(result["config"])) for _, result in group]
    varied = sorted({key for config in configs for key, value in config.items() if configs[0].get(key) != value})
    varied = [key for key in varied if key.partition(".")[0] not in OWN]
    for (place, result), config in zip(group, configs, strict=True):
        own = [(key, config.get(key)) for key in varied]
        targets = [f"{key.removeprefix('targets.')}={value}" for key, value in own if key.startswith("targets.")]
        rest = tuple(pair for pair in own if not pair[0].startswith("targets."))
        yield Run(place, result, chosen + rest, " ".join([arm, *targets]))
