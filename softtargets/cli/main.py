"""The program around Hydra: it checks before anything is written, and prints errors as one sentence.

`run.py --help` imports this module: torch is imported only where a run needs it.
"""

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from softtargets.cli import help, refusals
from softtargets.compat import hydra_names
from softtargets.config import allowed_targets, paths, recipes
from softtargets.errors import BadInput, Failed, program, visible
from softtargets.layout import CONF
from softtargets.system import files, signals

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""Error numbers of a disk that is full, over quota or read-only."""


def command(main: Callable[[], None]) -> None:
    """Run Hydra's `main` as a program: exit code 2 and one sentence for bad input, 1 for a failure, else 0."""
    if {"--help", "-h"} & set(sys.argv):
        with refusing():
            print(help.help_page(sys.argv[1:]))
        return
    from softtargets.config import at_cost  # it imports pydantic, which the pages of --help need not wait for

    register_resolvers()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its exceptions instead of printing them
    try:
        with as_cloned(), refusing(), hydra_names.checking(allowed_targets.require_hydra_allowed):
            several = bool({"-m", "--multirun"} & set(sys.argv))
            words = recipes.with_recipe(paths.quoted(sys.argv[1:], several=several))
            sys.argv[1:] = words if several or recipes.sweeps(words) else at_cost.with_searched(words)
            refusals.check_words(sys.argv[1:])
            main()
    except Exception as error:
        fail(error)
    if signals.code is not None:
        sys.exit(signals.code)


def register_resolvers() -> None:
    """Register with Hydra what our configs name in `${...}`."""
    OmegaConf.register_new_resolver("softtargets.title", title_resolver, replace=True)


def fail(error: BaseException) -> NoReturn:
    """Print why and end with exit code 1, or with that of a signal that has arrived."""
    if signals.code is None:
        print_failure(error)
    sys.exit(signals.code or 1)


def print_failure(error: BaseException) -> None:
    """Print one sentence for a known failure, else the traceback."""
    if isinstance(error, Failed):
        print(f"{program()}: {visible(error)}", file=sys.stderr)
    elif isinstance(error, OSError) and (error.errno in DISK or hydra_names.at_own_file(error)):
        print(f"{program()}: {error.strerror}: {error.filename or 'a file that Hydra writes'}", file=sys.stderr)
    else:
        traceback.print_exception(error)


@contextlib.contextmanager
def as_cloned():
    """Run the overrides of a ClearML agent's task, edits included, if the command line has none."""
    task = os.environ.get("CLEARML_TASK_ID")
    if not task or len(sys.argv) > 1:
        yield
        return
    from softtargets.tracker.clone import overrides

    with overrides(task) as edited:
        sys.argv += edited
        yield


def refuse(reason: str) -> NoReturn:
    """Print one line on stderr, whatever was typed, and end with exit code 2."""
    if signals.code is not None:
        sys.exit(signals.code)  # to Hydra the end by a signal is an error; its sentence is on screen already
    print(f"{program()}: {visible(reason)}", file=sys.stderr)
    sys.exit(2)


def title_resolver(*, _root_: DictConfig) -> str:
    """Return the name of a single run's folder, for `hydra.run.dir`."""
    from softtargets.execution import composed_run

    return composed_run.run_title(_root_)


def run_one(cfg: DictConfig) -> float | None:
    """Run one config that Hydra composed, in the folder that Hydra created for it.

    A single run that fails ends the program here: Hydra would print another line before the sentence.
    """
    from softtargets.execution import composed_run

    job = HydraConfig.get()
    if job.mode.name == "MULTIRUN":
        return composed_run.run_in_folder(cfg, job)
    try:
        return composed_run.run_in_folder(cfg, job)
    except BadInput as error:
        refuse(str(error))
    except SystemExit as error:
        if signals.is_end(error):
            raise
        fail(error)
    except Exception as error:
        fail(error)


# a launcher passes `run_one` by name: it must be a function that workers can import
main = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(run_one)


class CheckBeforeRun(Callback):
    """Hydra's hook before a single run has written anything.

    Hydra turns an exception in a hook into a warning and starts the run; only an exit stops it.
    """

    def on_run_start(self, config: DictConfig, **kwargs: object) -> None:
        """Warn about a launcher without effect; refuse bad input."""
        from softtargets.execution import composed_run

        launcher = config.hydra.runtime.choices["hydra/launcher"]
        if launcher != "basic":
            print(f"{program()}: hydra/launcher={launcher} has no effect without -m", file=sys.stderr)
        try:
            with refusing():
                if config.plan is True:
                    plan(config)
                    sys.exit(0)
                composed_run.check_runnable(config)
                HydraConfig.instance().set_config(config)  # as Hydra does next; the folder's name needs it
                composed_run.check_folder(config, "hydra.run.dir")
        except Exception as error:
            fail(error)


def plan(config: DictConfig) -> None:
    """Print what the run of a composed config would do and take; raise BadInput if it cannot run."""
    from softtargets.execution import composed_run
    from softtargets.study import planning

    planned = config.copy()
    planned.plan = False
    words = [word for word in config.hydra.overrides.task if word.lstrip("+").partition("=")[0] != "plan"]
    planned.hydra.overrides.task = words
    with files.only_reading("plan=true"):
        planning.show_run(composed_run.check_runnable(planned))


@contextlib.contextmanager
def refusing():
    """End with exit code 2 and one sentence if the block raises BadInput."""
    try:
        with translating():
            yield
    except BadInput as error:
        refuse(str(error))


@contextlib.contextmanager
def translating():
    """Raise BadInput where Hydra refuses the command line, with a sentence of our own."""
    try:
        yield
    except BadInput:
        raise
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise BadInput(refusals.refusal(error)) from error
    except (ValueError, TypeError, OSError, RecursionError) as error:
        if not hydra_names.by_hydra(error):
            raise
        raise BadInput(refusals.refusal(error)) from error
