"""Between Hydra and the pipeline: checks before anything is written, errors as a user should see them.

This module is imported by `run.py --help` too: torch is imported only where there is work.
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
from softtargets.config import allowed_targets, paths
from softtargets.errors import BadInput, Failed, program, visible
from softtargets.layout import CONF
from softtargets.system import signals

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""What a disk says that is full, over quota or only to be read."""


def command(main: Callable[[], None]) -> None:
    """Run Hydra's `main` as a program: exit code 2 and one sentence for bad input, 1 for a failure, else 0."""
    if {"--help", "-h"} & set(sys.argv):
        with refusing():
            print(help.page(sys.argv[1:]))
        return
    register_resolvers()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its exceptions on instead of printing them
    try:
        with as_cloned(), refusing(), hydra_names.checking(allowed_targets.require_hydra_allowed):
            sys.argv[1:] = paths.quoted(sys.argv[1:], several=bool({"-m", "--multirun"} & set(sys.argv)))
            refusals.check_words(sys.argv[1:])
            main()
    except Exception as error:
        fail(error)
    if signals.code is not None:
        sys.exit(signals.code)


def register_resolvers() -> None:
    """Register with Hydra what our configs name in `${...}`."""
    OmegaConf.register_new_resolver("softtargets.title", title, replace=True)


def fail(error: BaseException) -> NoReturn:
    """End with exit code 1, or with that of the signal that has come, and say why."""
    if signals.code is None:
        tell(error)
    sys.exit(signals.code or 1)


def tell(error: BaseException) -> None:
    """Say what failed: in a sentence where it is known."""
    if isinstance(error, Failed):
        print(f"{program()}: {visible(error)}", file=sys.stderr)
    elif isinstance(error, OSError) and (error.errno in DISK or hydra_names.at_own_file(error)):
        print(f"{program()}: {error.strerror}: {error.filename or 'a file that Hydra writes'}", file=sys.stderr)
    else:
        traceback.print_exception(error)


@contextlib.contextmanager
def as_cloned():
    """Under a ClearML agent, without words on the command line, run what its task says, edits included."""
    task = os.environ.get("CLEARML_TASK_ID")
    if not task or len(sys.argv) > 1:
        yield
        return
    from softtargets.tracker.clone import overrides

    with overrides(task) as edited:
        sys.argv += edited
        yield


def refuse(reason: str) -> NoReturn:
    """End with exit code 2 and one sentence on stderr, in one line whatever was typed."""
    if signals.code is not None:
        sys.exit(signals.code)  # what Hydra calls an error is the end by a signal, which has been told
    print(f"{program()}: {visible(reason)}", file=sys.stderr)
    sys.exit(2)


def title(*, _root_: DictConfig) -> str:
    """Name a single run's folder, for `hydra.run.dir`."""
    from softtargets.execution import composed_run

    return composed_run.title(_root_)


def run_one(cfg: DictConfig) -> float | None:
    """Run one config that Hydra composed, in the folder that Hydra made for it.

    A single run that fails ends the program here: Hydra would put a line of its own before the sentence.
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


# of a function that workers can import: launchers hand it to them by its name
main = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(run_one)


class CheckBeforeRun(Callback):
    """Hydra's hook before a single run has written anything.

    Hydra turns what a hook raises into a warning, and would run what could not be checked; exits it lets pass.
    """

    def on_run_start(self, config: DictConfig, **kwargs: object) -> None:
        """Warn of a launcher that is not used; refuse bad input."""
        from softtargets.execution import composed_run

        launcher = config.hydra.runtime.choices["hydra/launcher"]
        if launcher != "basic":
            print(f"{program()}: hydra/launcher={launcher} needs -m; this is one local run", file=sys.stderr)
        try:
            with refusing():
                composed_run.check_runnable(config)
                HydraConfig.instance().set_config(config)  # as Hydra does next: the folder is named by its choices
                composed_run.check_folder(config, "hydra.run.dir")
        except Exception as error:
            fail(error)


@contextlib.contextmanager
def refusing():
    """End with exit code 2 and one sentence on bad input."""
    try:
        with translating():
            yield
    except BadInput as error:
        refuse(str(error))


@contextlib.contextmanager
def translating():
    """Raise BadInput for what Hydra refuses, in the words of the command line."""
    try:
        yield
    except BadInput:
        raise
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise BadInput(refusals.sentence(error)) from error
    except (ValueError, TypeError, OSError, RecursionError) as error:
        if not hydra_names.by_hydra(error):
            raise
        raise BadInput(refusals.sentence(error)) from error
