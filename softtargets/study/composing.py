"""Configs of a sweep's cells: Hydra composes one for each choice of options, and plain settings are set in it.

Hydra takes a quarter of a second to compose a config, most of it for the defaults list. That depends on options,
such as `mu_algo=npo`. Settings such as `unlearn.optimizer.lr=0.1` come last, and are set here as Hydra sets them.
"""

import functools
import re
from collections.abc import Callable, Iterable

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from softtargets.config.names import Chosen
from softtargets.config.resolve import as_plain
from softtargets.config.settings import Settings
from softtargets.execution.composed_run import chosen, resolved, without_hydra
from softtargets.study.interpolations import Settled

SINGLE = "|".join(name for name in Settings.model_fields if name != "tracker")  # a group of options
PLAIN = re.compile(rf"({SINGLE}|[a-z_]+(\.\w+)+)=")
"""How the override of a plain setting begins. Any other may be an option, or decides how Hydra composes."""
Parse = Callable[[list[str]], list[Override]]
Compose = Callable[[list[str]], DictConfig]


class Template:
    """A config that Hydra composed, for all cells that choose the same options and set the same settings."""

    def __init__(self, config: DictConfig):
        self.config, self.task = config, without_hydra(config)
        self.hydra: DictConfig = config.hydra

    @functools.cached_property
    def chosen(self) -> Chosen:
        """Return the chosen options."""
        return chosen(self.hydra.runtime)

    @functools.cached_property
    def settled(self) -> Settled:
        """Return its values and their interpolations."""
        return Settled(as_plain(self.task), OmegaConf.to_container(self.task))


class Composed:
    """The config of one cell."""

    def __init__(self, template: Template, values: dict[str, object], overrides: list[str], compose: Compose):
        self.template, self.values, self.overrides, self.compose = template, values, overrides, compose

    def task(self, more: dict[str, object] | None = None) -> dict:
        """Return it without its `hydra` node as plain data, without interpolations; `more` are further values."""
        values = self.values | (more or {})
        quick = self.template.settled.with_values(values)
        return as_plain(self._set(self.template.task, values)) if quick is None else quick

    def resolved(self, machine: dict[str, object], digest: Callable) -> dict:
        """Return it in resolved form, with these values of `auto` and files by `digest`."""
        return resolved(self.task(machine), self.template.hydra, self.template.chosen, digest)

    def whole(self, more: dict[str, object] | None = None) -> DictConfig:
        """Return it as Hydra composes it. It is good until the next call: the cells of a template share it."""
        more = more or {}
        config = self._set(self.template.config, self.values | more)
        config.hydra.overrides.task = [*self.overrides, *(f"{name}={value}" for name, value in more.items())]
        return config

    def _set(self, config: DictConfig, values: dict[str, object]) -> DictConfig:
        try:
            for name, value in values.items():
                OmegaConf.update(config, name, value, merge=True)
        except OmegaConfBaseException:
            self.compose(self.overrides)  # Hydra says better what is wrong
            raise
        return config


class Composer:
    """Return the config of overrides as `compose` does, but in less time."""

    def __init__(self, compose: Compose, parse: Parse):
        self.compose, self.parse = compose, parse
        self.known: dict[tuple[str, ...], Template | None] = {}
        """By the other overrides and the names of plain settings; None where these are groups of settings."""
        self.values: dict[str, object] = {}
        self.composed = 0
        """Times that Hydra composed."""

    def __call__(self, overrides: Iterable[str]) -> Composed:
        """Return the config of these overrides."""
        overrides = list(overrides)
        values, rest = {}, []
        for word in overrides:
            if self._is_plain(word):
                values[word.partition("=")[0]] = self._value(word)  # the last of two values counts
            else:
                rest.append(word)
        # cells that set the same settings leave nothing of each other behind
        key = (*rest, *values)
        template = self.known.get(key)
        if template is None:
            template = self._anew(overrides)
            groups = key in self.known or any(_is_group(template.config, name) for name in values)
            self.known[key], values = (None, {}) if groups else (template, values)
        return Composed(template, values, overrides, self.compose)

    def _anew(self, overrides: list[str]) -> Template:
        self.composed += 1
        return Template(self.compose(overrides))

    def _is_plain(self, word: str) -> bool:
        return (
            bool(PLAIN.match(word)) and not word.startswith("hydra.") and not isinstance(self._value(word), dict)
        )

    def _value(self, word: str) -> object:
        if word not in self.values:
            (override,) = self.parse([word])
            self.values[word] = override.value()
        return self.values[word]


def _is_group(config: DictConfig, name: str) -> bool:
    """Return whether a setting is a group of settings: setting it would leave parts of an earlier value behind."""
    parent, _, last = name.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return (
        OmegaConf.is_dict(node)
        and not OmegaConf.is_interpolation(node, last)
        and OmegaConf.is_dict(node.get(last))
    )
