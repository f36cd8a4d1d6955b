"""Spaces: which values a search draws for which setting, read from `search/ALGORITHM.yaml`.

    sgd:                                                        # a block, of which a try takes one
      unlearn: sgd                                              # a fixed value
      unlearn.optimizer.lr: tag(log, interval(1e-6, 0.3))
      unlearn.batch_size: choice(32, 16, 64)
    adamw: ...

Values are in the syntax of Hydra's Optuna sweeper: `interval`, `int(interval())`, `choice`, `range`, and
`tag(log, ...)`, and a list such as `null, 1.0`, since `choice` takes no null. In place of blocks,
`blocks: optimisers` takes those of another file. Settings under `every` belong to all blocks, and replace a
block's. The first value of a choice and the low end of an interval make the first try, the high end with
`tag(from_high, ...)`.

A block, and `every`, may have a list `starts: [{SETTING: VALUE}]`, tried after the first try. Each of a block's is
joined with each of those under `every`; a setting that neither names has its value of the first try.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable
from pathlib import Path

import optuna
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep, Sweep
from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from softtargets.config import paths
from softtargets.errors import BadInput, nearest
from softtargets.system import yaml_text

FORM = "BLOCK: {SETTING: VALUE or choice(...) or interval(LOW, HIGH)}"
TAGS = {"log", "from_high"}
MANY = 1_000
"""Values of a range, at most."""
STARTS = "starts"
"""The key under which a block, or `every`, has values that are tried after the first try."""
DRAWN = ("mu_algo", "unlearn", "targets")
"""Groups whose settings a space may draw: all else would change what is scored, or against what."""
FIXED = {"mu_algo", "targets", "targets/forget", "targets/retain", "unlearn.cost", "unlearn.stop"}
"""Settings of these groups that are the same in all tries: the arm, its budget, and that it is used up."""
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
    starts: tuple[dict[str, object], ...] = ()
    """Values of the tries after the first."""

    def without(self, settings: set[str]) -> "Block":
        """Return the block without settings that the user typed."""
        fixed = tuple(word for word in self.fixed if word.partition("=")[0] not in settings)
        drawn = {name: one for name, one in self.drawn.items() if name not in settings}
        starts = [{name: value for name, value in start.items() if name in drawn} for start in self.starts]
        return dataclasses.replace(self, fixed=fixed, drawn=drawn, starts=_distinct(starts))

    def starting_from(self, values: Iterable[dict[str, object]]) -> "Block":
        """Return the block with more starts, after its own."""
        return dataclasses.replace(self, starts=_distinct((*self.starts, *values)))

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


def first_tries(space: Space) -> list[dict[str, object]]:
    """Return the parameters of the first try, at which the model hardly moves, and of all starts."""
    first = next(iter(space))
    tries = [(first, space[first].first()), *((name, start) for name in space for start in space[name].starts)]
    return [
        {"block": name} | {f"{name}/{setting}": value for setting, value in values.items()}
        for name, values in tries
    ]


def _suggest(trial: optuna.Trial, name: str, one: BaseDistribution) -> object:
    if isinstance(one, CategoricalDistribution):
        return trial.suggest_categorical(name, one.choices)
    if isinstance(one, IntDistribution):
        return trial.suggest_int(name, one.low, one.high, log=one.log)
    # three digits, so that the words that are printed repeat the try
    return float(f"{trial.suggest_float(name, one.low, one.high, log=one.log):.3g}")


def find_file(name: str, folders: list[Path]) -> Path | None:
    """Return the first file `search/NAME.yaml` in folders of configs; raises BadInput where it hides another."""
    return paths.first_file(folders, f"search/{name}.yaml", "Give it another name, or type space=FILE")


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
    space = {str(name): _block(file, str(name), settings, every) for name, settings in content.items()}
    if every.get(STARTS) and not any(block.starts for block in space.values()):
        raise BadInput(f"{file}: every: {STARTS}: no block has {STARTS} with which these could be joined")
    return space


def _mapping(file: Path) -> dict:
    try:
        content = yaml_text.load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise BadInput(f"{file}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise BadInput(f"{file}: not a space. The form of a space is {FORM}")
    return content


def _block(file: Path, name: str, settings: object, every: dict) -> Block:
    if not isinstance(settings, dict):
        raise BadInput(f"{file}: {name}: not a block of settings. The form of a space is {FORM}")
    fixed, drawn, from_high = [], {}, set()
    starts = _joined(file, name, settings, every)
    _require_once(file, name, settings | every)
    for setting, value in (settings | every).items():
        if setting == STARTS:
            continue
        override = _override(file, _word(setting, value))
        _require_drawable(file, name, override.key_or_group)
        if override.is_sweep_override():
            drawn[setting] = _distribution(file, override)
            from_high |= {setting} if "from_high" in override.value().tags else set()
        else:
            fixed.append(override.input_line)
    block = Block(tuple(fixed), drawn, frozenset(from_high))
    return dataclasses.replace(block, starts=_distinct(_start(file, name, block, start) for start in starts))


def _require_once(file: Path, block: str, settings: Iterable[str]) -> None:
    """Refuse a setting that a block has in two spellings: the last would silently replace the first."""
    names = [str(setting).lstrip("+~") for setting in settings]
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadInput(f"{file}: {block}: {twice[0]}: is there twice, with + and without. Keep one of them")


def _require_drawable(file: Path, block: str, setting: str) -> None:
    """Refuse a setting that makes tries incomparable, drawn or not: blocks may differ in it."""
    group = setting.replace("/", ".").partition(".")[0]
    if group not in DRAWN or setting in FIXED:
        raise BadInput(
            f"{file}: {block}: {setting}: would make tries incomparable. Draw settings of mu_algo, unlearn and "
            f"targets, but not {', '.join(sorted(FIXED))}"
        )


def _word(setting: str, value: object) -> str:
    return f"{setting}={'null' if value is None else value}"


def _joined(file: Path, name: str, settings: dict, every: dict) -> list[dict]:
    """Join each start of a block with each of those under `every`."""
    lists = [one.get(STARTS, []) for one in (settings, every)]
    if not all(isinstance(one, list) and all(isinstance(start, dict) for start in one) for one in lists):
        raise BadInput(f"{file}: {name}: {STARTS}: not a list of settings, as in {STARTS}: [{{SETTING: VALUE}}]")
    own, shared = lists
    return [one | other for one, other in itertools.product(own, shared or [{}])]


def _start(file: Path, name: str, block: Block, start: dict) -> dict[str, object]:
    """Return the value of every drawn setting of a block in a start."""
    if unknown := set(start) - set(block.drawn):
        setting = min(unknown)
        raise BadInput(f"{file}: {name}: {STARTS}: {setting}: not drawn; choose among {', '.join(block.drawn)}")
    return block.first() | {
        setting: _value(file, _override(file, _word(setting, value)), block.drawn[setting])
        for setting, value in start.items()
    }


def _value(file: Path, override: Override, one: BaseDistribution) -> object:
    """Return the value of a start: a choice as its text, else a number."""
    if isinstance(one, CategoricalDistribution):
        value = None if override.is_sweep_override() else override.get_value_element_as_str()
        within = value in one.choices
    else:
        value = override.value()
        within = isinstance(value, int | float) and one.low <= value <= one.high
    if not within:
        allowed = ", " if isinstance(one, CategoricalDistribution) else " to "
        raise BadInput(f"{file}: {STARTS}: {override.input_line}: must be of {allowed.join(map(str, ends(one)))}")
    return value


def _distinct(starts: Iterable[dict]) -> tuple[dict, ...]:
    """Return starts without doubles."""
    found = []
    return tuple(found.append(start) or start for start in starts if start not in found)


def _override(file: Path, word: str) -> Override:
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException as error:
        reason = " ".join(str(error).partition("\nSee ")[0].split())
        raise BadInput(f"{file}: {word}: cannot be read ({reason})") from error


def _distribution(file: Path, override: Override) -> BaseDistribution:
    """Return Optuna's distribution of a value such as `tag(log, interval(1e-6, 0.3))`."""
    sweep, word = override.value(), override.input_line
    if isinstance(sweep, Glob):
        raise BadInput(f"{file}: {word}: glob is for options of a group; use choice or interval")
    if unknown := sweep.tags - TAGS:
        tag, known = min(unknown), " or ".join(sorted(TAGS))
        raise BadInput(f"{file}: {word}: tag {tag}: no such tag; use {known}{nearest(tag, TAGS)}")
    if not isinstance(sweep, IntervalSweep):
        return CategoricalDistribution(_choices(file, override))
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    if not low < high or (log and low <= 0) or not math.isfinite(high - low):
        raise BadInput(f"{file}: {word}: an interval runs from low to high, both finite, and above 0 with tag log")
    whole = isinstance(low, int) and isinstance(high, int)
    return IntDistribution(low, high, log) if whole else FloatDistribution(float(low), float(high), log)


def _choices(file: Path, override: Override) -> list[str]:
    """Return the values of a choice, a list or a range as their texts, without doubles."""
    sweep, word = override.value(), override.input_line
    if sweep.shuffle:
        raise BadInput(f"{file}: {word}: shuffle would change the first try in each call. Leave it out")
    if isinstance(sweep, RangeSweep) and not _is_short(sweep):
        raise BadInput(f"{file}: {word}: a range has at most {MANY:,} values; use int(interval(LOW, HIGH))")
    if not isinstance(sweep, RangeSweep) and any(isinstance(one, Sweep | Glob) for one in sweep.list):
        raise BadInput(f"{file}: {word}: a choice is of plain values; use one choice or one interval")
    values = list(dict.fromkeys(override.sweep_string_iterator()))
    if sweep.tags or len(values) < 2:
        raise BadInput(f"{file}: {word}: must have two choices at least, and tags are for intervals alone")
    return values


def _is_short(sweep: RangeSweep) -> bool:
    return sweep.step != 0 and (sweep.stop - sweep.start) / sweep.step <= MANY
