"""Between Hydra and the pipeline: checks before anything is written, errors as a user should see them.

This module is imported by `run.py --help` too: torch is imported only where there is work.
"""

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Callable

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from softtargets.errors import BadInput
from softtargets.help import CONF, register


def command(main: Callable[[], None]) -> None:
    """Run Hydra's `main` as a program: exit code 2 and one sentence for bad input, 1 for a failure, else 0."""
    register()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its exceptions on instead of printing them
    try:
        with as_cloned(), refusing():
            main()
    except Exception:
        traceback.print_exc()
        sys.exit(1)


@contextlib.contextmanager
def as_cloned():
    """Under a ClearML agent, without words on the command line, run what its task says, edits included."""
    task = os.environ.get("CLEARML_TASK_ID")
    if not task or len(sys.argv) > 1:
        yield
        return
    from softtargets.tracker.clone import overrides

    with overrides(task) as words:
        sys.argv += words
        yield


def refuse(reason: str) -> None:
    """End with exit code 2 and one sentence on stderr."""
    print(f"run.py: {reason}", file=sys.stderr)
    sys.exit(2)


def sentence(error: Exception) -> str:
    """Say in one line, in the words of the command line, what Hydra or OmegaConf refuses."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return f"{group}={option}: no such option; allowed are {', '.join(error.options)}"
    if found := re.search(r"Could not override '(.+?)'", text):
        given = next((word for word in sys.argv if word.startswith(f"{found[1]}=")), found[1])
        return f"{given}: no such setting{_beside(found[1])}"
    if found := re.search(r"Ambiguous value for argument '(.+?)'", text):
        return f"{found[1]}: one value is allowed here; several make a sweep, with -m as the first argument"
    return " ".join(text.partition("\n full_key")[0].split())


def _beside(setting: str) -> str:
    """List what could have been meant: what stands beside the setting under the groups that were chosen."""
    words = [word.partition("=") for word in sys.argv[1:]]
    groups = [f"{group}={option}" for group, _, option in words if (CONF / group / f"{option}.yaml").is_file()]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", groups)
    parent = setting.rpartition(".")[0]
    node = OmegaConf.select(config, parent) if parent else config
    names = list(node) if OmegaConf.is_dict(node) else []
    return f"; allowed under {parent or 'the top level'} are {', '.join(names)}" if names else ""


def run_one(cfg: DictConfig) -> float | None:
    """Run one config that Hydra composed, in the folder that Hydra made for it."""
    from softtargets import job

    return job.run_one(cfg, HydraConfig.get())


class CheckBeforeRun(Callback):
    """Hydra's hook before a single run has written anything."""

    def on_run_start(self, config: DictConfig, **kwargs: object) -> None:
        """Warn of a launcher that is not used; refuse bad input."""
        from softtargets import job

        launcher = config.hydra.runtime.choices["hydra/launcher"]
        if launcher != "basic":
            print(f"run.py: hydra/launcher={launcher} needs -m; this is one local run", file=sys.stderr)
        with refusing():
            job.check(config)


@contextlib.contextmanager
def refusing():
    """End with exit code 2 and one sentence on bad input."""
    try:
        yield
    except BadInput as error:
        refuse(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        refuse(sentence(error))
