"""Configs of a sweep's cells: Hydra composes one for each choice of options, and plain settings are set in it.

Hydra takes a quarter of a second to compose a config, most of it for the defaults list. That depends on options,
such as `mu_algo=npo`. Settings such as `unlearn.optimizer.lr=0.1` come last, and are set here as Hydra sets them.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from softtargets.execution.composed_run import without_hydra

PLAIN = re.compile(r"seed=|[a-z_]+(\.\w+)+=")
"""How the override of a plain setting begins. Any other may be an option, or decides how Hydra composes."""
Parse = Callable[[list[str]], list[Override]]


class Composed(NamedTuple):
    """A config as Hydra composes it, whole and without its `hydra` node."""

    config: DictConfig
    task: DictConfig


class Composer:
    """Return the config of overrides as `compose` does, but in less time.

    It is good until the next call: cells that differ in plain settings alone share it.
    """

    def __init__(self, compose: Callable[[list[str]], DictConfig], parse: Parse):
        self.compose, self.parse = compose, parse
        self.known: dict[tuple[str, ...], Composed | None] = {}
        """By the other overrides and the names of plain settings; None where these are groups of settings."""
        self.values: dict[str, object] = {}
        self.composed = 0
        """Times that Hydra composed."""

    def __call__(self, overrides: Iterable[str]) -> Composed:
        """Return the config of these overrides."""
        overrides = list(overrides)
        plain = {word.partition("=")[0]: word for word in overrides if self._is_plain(word)}
        if len(plain) < sum(map(self._is_plain, overrides)):  # the order of two values of a setting matters
            return self._anew(overrides)
        rest = [word for word in overrides if word not in plain.values()]
        # cells that set the same settings leave nothing of each other behind
        key = (*rest, *plain)
        if key not in self.known:
            composed = self._anew(overrides)
            self.known[key] = None if any(_is_group(composed.config, name) for name in plain) else composed
            return composed
        composed = self.known[key]
        return composed if composed and self._set(composed, plain, overrides) else self._anew(overrides)

    def _anew(self, overrides: list[str]) -> Composed:
        self.composed += 1
        config = self.compose(overrides)
        return Composed(config, without_hydra(config))

    def _is_plain(self, word: str) -> bool:
        return (
            bool(PLAIN.match(word)) and not word.startswith("hydra.") and not isinstance(self._value(word), dict)
        )

    def _value(self, word: str) -> object:
        if word not in self.values:
            (override,) = self.parse([word])
            self.values[word] = override.value()
        return self.values[word]

    def _set(self, composed: Composed, plain: dict[str, str], overrides: list[str]) -> bool:
        """Set plain settings; return False where Hydra has to say what is wrong with one."""
        try:
            for name, word in plain.items():
                for config in composed:
                    OmegaConf.update(config, name, self._value(word), merge=True)
        except OmegaConfBaseException:
            return False
        composed.config.hydra.overrides.task = overrides
        return True


def _is_group(config: DictConfig, name: str) -> bool:
    """Return whether a setting is a group of settings: setting it would leave parts of an earlier value behind."""
    parent, _, last = name.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return (
        OmegaConf.is_dict(node)
        and not OmegaConf.is_interpolation(node, last)
        and OmegaConf.is_dict(node.get(last))
    )
