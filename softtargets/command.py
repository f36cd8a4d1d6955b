"""Between Hydra and the pipeline: checks before anything is written, errors as a user should see them.

This module is imported by `run.py --help` too: torch is imported only where there is work.
"""

import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from softtargets.help import CONF, register

CHOSEN = ("dataset", "architecture", "mu_algo", "targets", "training", "unlearn", "forget_set")
SIDES = ("targets/forget", "targets/retain")


def command(main: Callable[[], None]) -> None:
    """Run Hydra's `main` as a program: exit code 2 and one sentence for bad input, 1 for a failure, else 0."""
    register()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its exceptions on instead of printing them
    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        refuse(sentence(error))
    except Exception:
        traceback.print_exc()
        sys.exit(1)


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
    from softtargets import pipeline
    from softtargets.disk import write_json
    from softtargets.settings import resolve
    from softtargets.types import BadInput

    hydra_config = HydraConfig.get()
    output = Path(hydra_config.runtime.output_dir)
    try:
        found = pipeline.run(resolve(cfg, choices(hydra_config.runtime.choices)), output)
    except Exception as error:
        first = str(error).partition("\n")[0]
        report = {"error": type(error).__name__, "message": first, "traceback": traceback.format_exc()}
        write_json(output / "error.json", report)
        if isinstance(error, BadInput):
            refuse(str(error))
        raise
    return found and found["distance"]["js_forget"]


def choices(chosen: DictConfig) -> dict[str, str]:
    """Return the chosen option of each group of ours; a side of the targets as `targets_forget`."""
    return {group.replace("/", "_"): chosen[group] for group in (*CHOSEN, *SIDES)}


class CheckBeforeRun(Callback):
    """Hydra's hook before a single run has written anything."""

    def on_run_start(self, config: DictConfig, **kwargs: object) -> None:
        """Warn of a launcher that is not used; refuse bad input."""
        launcher = config.hydra.runtime.choices["hydra/launcher"]
        if launcher != "basic":
            print(
                f"run.py: hydra/launcher={launcher} is ignored without -m; this is one local run",
                file=sys.stderr,
            )
        check(config)


def check(config: DictConfig) -> None:
    """Build a composed config, `hydra` node included, and end with exit code 2 where that cannot be done."""
    from softtargets.experiment import build
    from softtargets.settings import RERUN_KEEPS, resolve
    from softtargets.types import BadInput

    try:
        if config.rerun is not None:
            _only(RERUN_KEEPS, config.hydra.overrides.task)
        build(resolve(without_hydra(config), choices(config.hydra.runtime.choices)))
    except BadInput as error:
        refuse(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        refuse(sentence(error))


def _only(allowed: tuple[str, ...], overrides: list[str]) -> None:
    """Refuse overrides that `rerun` would have to ignore."""
    from softtargets.types import BadInput

    for override in overrides:
        if override.lstrip("+~").partition("=")[0].partition(".")[0] not in allowed:
            raise BadInput(f"{override}: cannot be given with rerun, which takes only {', '.join(allowed)}")


def without_hydra(config: DictConfig) -> DictConfig:
    """Return what a task function would get."""
    copied = config.copy()
    OmegaConf.set_readonly(copied, False)
    with open_dict(copied):
        del copied["hydra"]
    return copied


def check_cells(cells) -> None:
    """Check every cell of a sweep; cells that differ in the seed alone are checked as one."""
    seen = set()
    for config in cells:
        OmegaConf.set_readonly(config, False)
        seed, config.seed = config.seed, 0
        text = OmegaConf.to_yaml(without_hydra(config))
        config.seed = seed
        if text not in seen or type(seed) is not int:
            check(config)
        seen.add(text)
