"""Between Hydra and the pipeline: checks before anything is written, errors as a user should see them.

This module is imported by `run.py --help` too: torch is imported only where there is work.
"""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from softtargets.help import register

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
    """Make one line of a Hydra or OmegaConf message, without what helps nobody."""
    lines = [line.strip() for line in str(error).splitlines()]
    cut = next(
        (i for i, line in enumerate(lines) if line.startswith(("Config search path", "full_key", "Set the"))),
        None,
    )
    return "; ".join(filter(None, lines[:cut])).replace(":;", ":")


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
    from softtargets.settings import resolve
    from softtargets.types import BadInput

    try:
        build(resolve(without_hydra(config), choices(config.hydra.runtime.choices)))
    except BadInput as error:
        refuse(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        refuse(sentence(error))


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
