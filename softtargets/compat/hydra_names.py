"""What is used of Hydra that is not its public interface, each with what goes wrong without it.

pyproject.toml holds Hydra below 1.4: another minor version may have renamed any of it. Beside it, the sweeper in
`hydra_plugins` is a subclass of Hydra's own one.
"""

import argparse
import contextlib
import functools
import logging
from collections.abc import Callable, Iterator

from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.types import Override
from hydra.utils import get_object
from omegaconf import DictConfig


@contextlib.contextmanager
def checking(check: Callable[[DictConfig], None]) -> Iterator[None]:
    """Call `check(config)` on every config that Hydra composes for a run, before Hydra makes parts of it.

    Hydra makes the callbacks that a config names before it calls any hook: a config from somebody else could name
    any module, whose code would run. Hydra's own list of forbidden targets holds what is known to be dangerous,
    not what is unknown.
    """
    compose = Hydra.compose_config

    @functools.wraps(compose)
    def checked(*arguments: object, **named: object) -> DictConfig:
        config = compose(*arguments, **named)
        check(config)
        return config

    Hydra.compose_config = checked
    try:
        yield
    finally:
        Hydra.compose_config = compose


def parser(refuse: Callable[[str], None]) -> argparse.ArgumentParser:
    """Return the parser of Hydra's command line, which calls `refuse(message)` for a flag that it does not know.

    Hydra itself prints its usage in twelve lines then.
    """
    known = get_args_parser()
    known.error = refuse
    return known


def typed(value: object) -> str:
    """Return plain data as it is typed in an override.

    Hydra's public way takes the value of an override alone, and not a part of it.
    """
    return Override._get_value_element_as_str(value)


def located(name: str) -> object:
    """Return what `name`, a `_target_`, stands for in Hydra; raises nearly anything where it cannot be imported.

    It must be Hydra's own way of looking, so that what is checked is what is called later. That way is public, but
    says on screen what went wrong, where the caller has a sentence for it.
    """
    log = logging.getLogger("hydra.utils")
    log.disabled = True
    try:
        return get_object(name)
    finally:
        log.disabled = False
