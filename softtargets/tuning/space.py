"""Spaces: which values a search draws for which setting, read from `search/ALGORITHM.yaml`.

    sgd:                                                        # a block, of which a try takes one
      unlearn: sgd                                              # a fixed value
      unlearn.optimizer.lr: tag(log, interval(1e-6, 0.3))
      unlearn.batch_size: choice(32, 16, 64)
    adamw: ...

Values are in the syntax of Hydra's Optuna sweeper: `interval`, `int(interval())`, `choice`, `range`, and
`tag(log, ...)`, and a list such as `null, 1.0`, since `choice` takes no null. In place of blocks,
`blocks: optimisers` takes those of another file. Settings under `every` belong to all blocks. The first value of a
choice and the low end of an interval make the first try, the high end with `tag(from_high, ...)`.
"""

import dataclasses
from pathlib import Path

import optuna
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from softtargets.errors import BadInput, nearest

FORM = "BLOCK: {SETTING: VALUE or choice(...) or interval(LOW, HIGH)}"
TAGS = {"log", "from_high"}
NOTHING_TO_SEARCH = {
    "none": "it changes nothing",
    "none_calibrated": "its temperature is fitted",
    "early": "it takes a checkpoint of the original",
    "class_mask": "it has no setting",
    "sisa": "it trains by the recipe of training, and its shards are no choice of a search",
    "teachers": "it has the number of its teachers alone, which is that of the targets it is compared with",
}
"""Algorithms of ours without a space, and why."""


@dataclasses.dataclass(frozen=True)
class Block:
    """What a try draws from: the space of one optimiser."""

    fixed: tuple[str, ...]
    """Words of the settings that are not drawn."""
    drawn: dict[str, BaseDistribution]
    from_high: frozenset[str] = frozenset()
    """Settings whose interval has its high end in the first try."""

    def without(self, settings: set[str]) -> "Block":
        """Return the block without settings that the user typed."""
        fixed = tuple(word for word in self.fixed if word.partition("=")[0] not in settings)
        drawn = {name: one for name, one in self.drawn.items() if name not in settings}
        return dataclasses.replace(self, fixed=fixed, drawn=drawn)

    def words(self, values: dict[str, object]) -> tuple[str, ...]:
        """Return the words of a try with these values."""
        return *self.fixed, *(f"{name}={values[name]}" for name in self.drawn)

    def first(self) -> dict[str, object]:
        """Return the first of every choice, and the end of every interval at which the first try stands."""
        return {name: ends(one)[-1 if name in self.from_high else 0] for name, one in self.drawn.items()}

    def corners(self) -> list[dict[str, object]]:
        """Return values such that each choice and each end of an interval is there once."""
        most = max((len(ends(one)) for one in self.drawn.values()), default=1)
        return [
            {name: ends(one)[min(number, len(ends(one)) - 1)] for name, one in self.drawn.items()}
            for number in range(most)
        ]


Space = dict[str, Block]
"""Blocks by name."""


def ends(distribution: BaseDistribution) -> tuple:
    """Return all values of a choice, or both ends of an interval."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return distribution.low, distribution.high


def draw(space: Space, trial: optuna.Trial) -> tuple[str, ...]:
    """Return the words of a try, with values that the trial's sampler draws."""
    name = trial.suggest_categorical("block", list(space))
    drawn = space[name].drawn
    return space[name].words({setting: _suggest(trial, f"{name}/{setting}", drawn[setting]) for setting in drawn})


def first_try(space: Space) -> dict[str, object]:
    """Return the parameters of the first try, at which the model hardly moves."""
    name, block = next(iter(space.items()))
    return {"block": name} | {f"{name}/{setting}": value for setting, value in block.first().items()}


def _suggest(trial: optuna.Trial, name: str, one: BaseDistribution) -> object:
    if isinstance(one, CategoricalDistribution):
        return trial.suggest_categorical(name, one.choices)
    if isinstance(one, IntDistribution):
        return trial.suggest_int(name, one.low, one.high, log=one.log)
    # three digits, so that the words that are printed repeat the try
    return float(f"{trial.suggest_float(name, one.low, one.high, log=one.log):.3g}")


def find_file(name: str, folders: list[Path]) -> Path | None:
    """Return the first file `search/NAME.yaml` in folders of configs."""
    files = (Path(folder, "search", f"{name}.yaml") for folder in folders)
    return next((file for file in files if file.is_file()), None)


def read_space(file: Path, folders: list[Path]) -> Space:
    """Read and check a space; `folders` of configs are where `blocks: NAME` is looked for.

    Raises BadInput, with file and setting, for anything that is not in the form above.
    """
    content = _mapping(file)
    every, blocks = content.pop("every", {}), content.pop("blocks", None)
    if blocks is not None:
        shared = find_file(str(blocks), folders)
        if shared is None or content:
            raise BadInput(
                f"{file}: blocks={blocks}: must name another file of group search, and stand for all blocks"
            )
        content = _mapping(shared)
    if not content or not isinstance(every, dict):
        raise BadInput(f"{file}: has no block. The form of a space is {FORM}")
    return {str(name): _block(file, str(name), settings, every) for name, settings in content.items()}


def _mapping(file: Path) -> dict:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise BadInput(f"{file}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise BadInput(f"{file}: not a space. The form of a space is {FORM}")
    return content


def _block(file: Path, name: str, settings: object, every: dict) -> Block:
    if not isinstance(settings, dict):
        raise BadInput(f"{file}: {name}: not a block of settings. The form of a space is {FORM}")
    fixed, drawn, from_high = [], {}, set()
    for setting, value in (settings | every).items():
        override = _override(file, f"{setting}={'null' if value is None else value}")
        if override.is_sweep_override():
            drawn[setting] = _distribution(file, override)
            from_high |= {setting} if "from_high" in override.value().tags else set()
        else:
            fixed.append(override.input_line)
    return Block(tuple(fixed), drawn, frozenset(from_high))


def _override(file: Path, word: str) -> Override:
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException as error:
        reason = " ".join(str(error).partition("\nSee ")[0].split())
        raise BadInput(f"{file}: {word}: cannot be read ({reason})") from error


def _distribution(file: Path, override: Override) -> BaseDistribution:
    """Return Optuna's distribution of a value such as `tag(log, interval(1e-6, 0.3))`."""
    sweep, word = override.value(), override.input_line
    if unknown := sweep.tags - TAGS:
        tag, known = min(unknown), " or ".join(sorted(TAGS))
        raise BadInput(f"{file}: {word}: tag {tag}: no such tag; use {known}{nearest(tag, TAGS)}")
    if not isinstance(sweep, IntervalSweep):
        values = list(dict.fromkeys(override.sweep_string_iterator()))
        if sweep.tags or len(values) < 2:
            raise BadInput(f"{file}: {word}: must have two choices at least, and tags are for intervals alone")
        return CategoricalDistribution(values)
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    if not low < high or (log and low <= 0):
        raise BadInput(f"{file}: {word}: an interval runs from low to high, above 0 with tag log")
    whole = isinstance(low, int) and isinstance(high, int)
    return IntDistribution(low, high, log) if whole else FloatDistribution(float(low), float(high), log)
