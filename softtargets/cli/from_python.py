"""Runs and sweeps from Python: the same checks, the same files and the same bytes as the command line."""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from softtargets.cli import refusals
from softtargets.cli.main import register_resolvers, run_one, translating
from softtargets.compat import hydra_names
from softtargets.config import allowed_targets, at_cost, paths, recipes
from softtargets.errors import BadInput, Failed
from softtargets.execution import composed_run
from softtargets.layout import CONF
from softtargets.system.files import read_json


def run(overrides: Iterable[str] = ()) -> dict:
    """Run one config and return its result, the content of result.json.

    `overrides` are the words that would follow `softtargets run`. The run leaves its folder as the command does;
    with `stage=data` or `stage=train` the content of that stage's mark is returned. Raises BadInput, a ValueError,
    before any work for what the command would refuse, and what the run itself raises.

    >>> import softtargets
    >>> small = ["dataset.train_size=500", "training.epochs=6", "mu_algo=graddiff"]
    >>> result = softtargets.run([*small, "targets=soft", "save_models=true", "hydra.run.dir=runs/one"])
    >>> result["choices"]["targets"], 0 <= result["distance"]["js_forget"] <= 0.6932  # nats, at most log 2
    ('soft', True)
    """
    words = recipes.with_recipe(paths.quoted(listed(overrides), several=False))
    words = words if recipes.sweeps(words) else at_cost.with_searched(words)
    with hydra_for(words) as hydra:
        config = hydra.compose_config("config", words, RunMode.RUN, with_log_configuration=False)
        _check(config)
        # checked already, and by a hook that ends the process: here an exception is wanted
        ended = hydra.run("config", _run, [*words, "~hydra.callbacks.check"], with_log_configuration=False)
    stage, folder = config.stage, Path(ended.hydra_cfg.hydra.runtime.output_dir)
    return read_json(folder / ("result.json" if stage == "all" else f"{stage}.json"))


def sweep(overrides: Iterable[str] = ()) -> Path:
    """Run every combination and return the sweep's folder; `softtargets.results(folder)` is its table.

    `overrides` are the words that would follow `softtargets run -m`. What is finished in the folder is not run
    again. Raises BadInput, a ValueError, before any work for what the command would refuse, and Failed where runs
    have no result at the end; their reasons are on screen and in their folders.

    >>> import softtargets
    >>> small = ["dataset.train_size=500", "training.epochs=6", "mu_algo=graddiff"]
    >>> folder = softtargets.sweep([*small, "targets=hard,soft", "hydra.sweep.dir=runs/mine"])
    >>> sorted(file.name for file in folder.glob("*.csv"))
    ['arms.csv', 'attacks.csv', 'contrasts.csv', 'pairs.csv', 'runs.csv', 'standing.csv', 'summary.csv']
    """
    words = recipes.with_recipe(paths.quoted(listed(overrides), several=True))
    with hydra_for(words) as hydra:
        config = hydra.compose_config("config", words, RunMode.MULTIRUN, with_log_configuration=False)
        folder = Path(config.hydra.sweep.dir).absolute()
        try:
            hydra.multirun("config", run_one, [*words, "hydra.mode=MULTIRUN"], with_log_configuration=False)
        except SystemExit as error:
            raise Failed(f"{folder}: not every run of the sweep has a result") from error
    return folder


def listed(overrides: Iterable[str]) -> list[str]:
    """Return the overrides; raise BadInput unless they are a list of texts."""
    if isinstance(overrides, str) or not isinstance(overrides, Iterable):
        example = overrides if isinstance(overrides, str) else "seed=1"
        raise BadInput(f"overrides={overrides!r}: must be a list, as in [{example!r}]")
    words = list(overrides)
    for word in words:
        if not isinstance(word, str):
            raise BadInput(f"overrides has {word!r}; each must be a text, as in 'seed=1'")
    return words


@contextlib.contextmanager
def hydra_for(words: list[str]) -> Iterator:
    """Yield a Hydra for one call, whatever a Hydra of the caller's own is at.

    While it lasts, `sys.argv` holds the words: sentences quote what was typed, and plugins count only there.
    """
    register_resolvers()
    typed = sys.argv
    sys.argv = [typed[0], *words]
    checking = hydra_names.checking(allowed_targets.require_hydra_allowed)
    try:
        with torch_as_before(), hydra_names.set_aside(), translating(), checking:
            refusals.check_words(words)
            with hydra_names.started(CONF, job="softtargets") as hydra:
                yield hydra
    finally:
        sys.argv = typed


@contextlib.contextmanager
def torch_as_before() -> Iterator[None]:
    """Give torch the caller's threads and determinism again at the end: a run sets those of its config."""
    import torch  # here: `import softtargets` is quick

    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    fills = torch.utils.deterministic.fill_uninitialized_memory
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)
        torch.utils.deterministic.fill_uninitialized_memory = fills


def _check(config: DictConfig) -> None:
    """Check a composed run as the command's own hook does."""
    if config.hydra.mode == RunMode.MULTIRUN:
        raise BadInput("this is a sweep; call softtargets.sweep")
    if config.plan is True:
        raise BadInput(
            "plan=true: a run from Python returns a result, and a plan has none. Call softtargets.sweep"
        )
    composed_run.check_runnable(config)
    with hydra_names.described_by(config):
        composed_run.check_folder(config, "hydra.run.dir")


def _run(cfg: DictConfig) -> float | None:
    return composed_run.run_in_folder(cfg, HydraConfig.get())
