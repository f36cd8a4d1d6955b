"""Private names of Hydra that this package uses, each with the failure that it prevents.

pyproject.toml holds Hydra below 1.4: another minor version may have renamed any of it.
"""

import argparse
import contextlib
import functools
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from hydra import initialize_config_dir
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.utils import get_object
from omegaconf import DictConfig

OURS = ("softtargets", "hydra_plugins")
HELPERS = sys.stdlib_module_names | {"omegaconf", "filelock", "yaml"}
"""What Hydra and this package call to read and write files."""


@contextlib.contextmanager
def checking(check: Callable[[DictConfig], None]) -> Iterator[None]:
    """Call `check(config)` on every config that Hydra composes for a run, before Hydra creates parts of it.

    Hydra creates the callbacks of a config before it calls any hook: a config from somebody else could name any
    module, whose code would run. Hydra's own list of forbidden targets has known dangers only.
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
    """Return the parser of Hydra's command line, which calls `refuse(message)` for an unknown flag.

    Hydra itself would print twelve lines of usage.
    """
    arguments = get_args_parser()
    arguments.error = refuse
    return arguments


def as_typed(value: object) -> str:
    """Return plain data as it is typed in an override.

    Hydra's public function takes the whole value of an override, not a part of it.
    """
    return Override._get_value_element_as_str(value)


def located(name: str) -> object:
    """Import what a `_target_` names, as Hydra does; raises nearly anything if that fails.

    Only Hydra's own function makes sure that the object checked here is the one called later. It is public, but
    logs each failure to the screen, where the caller prints one sentence.
    """
    log = logging.getLogger("hydra.utils")
    log.disabled = True
    try:
        return get_object(name)
    finally:
        log.disabled = False


@contextlib.contextmanager
def described_by(config: DictConfig) -> Iterator[None]:
    """Let `${hydra:...}` stand for values of this config, as while Hydra runs it.

    The folder of a run is named by what the run chose. Hydra can take a config's description up, but not back: the
    caller's own Hydra would go on with the folder and the job of this one.
    """
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before


@contextlib.contextmanager
def set_aside() -> Iterator[None]:
    """Leave the process without a Hydra, and give back the caller's in the end.

    Hydra keeps one a process: without this a run that is started from a script of Hydra's would end with its
    "GlobalHydra is already initialized", or leave that script without its own.
    """
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = before


@contextlib.contextmanager
def started(folder: Path, job: str) -> Iterator[Hydra]:
    """Yield a Hydra for the configs in `folder`, whose `run` and `multirun` are those of the command line.

    Hydra's public `compose` neither runs a config nor starts a sweep, and a run would lack its folder and hooks.
    """
    with initialize_config_dir(str(folder), job_name=job, version_base="1.3"):
        yield GlobalHydra.instance().hydra


def raised(job: JobReturn) -> object:
    """Return what a failed run of a sweep raised.

    The public `return_value` raises it, after a line on stderr for every run.
    """
    return job._return_value


def option_file(error: Exception) -> str | None:
    """Return the option file that Hydra was reading, which what it raises does not name.

    Without it a list or a tab in one of many files is reported without the name of the file.
    """
    errors = [one for one in (error, error.__cause__) if one is not None]
    frames = [frame for one in errors for frame, _ in traceback.walk_tb(one.__traceback__)]
    return next((frame.f_locals["full_path"] for frame in frames if "full_path" in frame.f_locals), None)


def by_hydra(error: Exception) -> bool:
    """Return whether Hydra or what it called raised this, and no code of ours: it is about the words then.

    Hydra raises plain ValueErrors, TypeErrors and OSErrors for words and files that it cannot read. It calls our
    sweeper, sources and hooks, and they call it: no other mark says from which side an error comes. Without the
    rule a slip of the user's ends in a traceback, or a fault of ours in a sentence about bad input.
    """
    return [name for name in _packages(error) if name == "hydra" or name in OURS][-1] == "hydra"


def at_own_file(error: OSError) -> bool:
    """Return whether Hydra or this package was at a file, and no code of a user, who wants a traceback.

    Both read and write files in so many places that no `except` could stand around each.
    """
    return [name for name in _packages(error) if name not in HELPERS][-1:] in [[name] for name in ("hydra", *OURS)]


def _packages(error: BaseException) -> list[str]:
    """Name the package of every frame, from the call down to what raised."""
    return [frame.f_globals["__name__"].partition(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)]
