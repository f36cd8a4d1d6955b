"""Names that a `_target_` may have: our parts, torch's optimisers, and names in modules that the user lists.

Hydra calls whatever a `_target_` names, and a config may come from somebody else: it may be a run to repeat, a
cloned task or an option file. So a name is checked before anything is imported, and the imported object again:
`softtargets.datasets.importlib.import_module` is not ours. A config file cannot list modules, and it cannot hide a
`_target_` in an interpolation that is resolved later.
"""

import functools
import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from softtargets.compat.hydra_names import located
from softtargets.errors import BadInput, reason

OPTIMISATION = ("torch.optim", "softtargets.schedules")
OURS = {
    "dataset": ("softtargets.datasets",),
    "forget_set": ("softtargets.forget_sets",),
    "architecture": ("softtargets.architectures",),
    "mu_algo": ("softtargets.mu_algo",),
    "targets": ("softtargets.targets",),
    "training": OPTIMISATION,
    "unlearn": OPTIMISATION,
    "hydra": ("hydra_plugins", "hydra._internal.core_plugins", "softtargets.cli.main.CheckBeforeRun"),
}
"""Modules and single parts that a group may name without a plugin, by group."""


ENVIRONMENT, SETUP = "hydra.job.env_set", "hydra.launcher.setup"
"""Settings of Hydra that run programs: a variable may name one, and the setup of a SLURM job consists of some."""
USUAL_SETUP = ["export OMP_NUM_THREADS=1"]
"""The commands in our own launchers."""


def require_allowed(config: dict, plugins: Iterable[str]) -> None:
    """Raise BadInput for the first `_target_` in `config` that is not allowed, and for an open interpolation."""
    for where, value in _walk(config):
        if isinstance(value, str) and "${" in value:
            raise BadInput(f"{where}={value}: this interpolation is still open; give a value")
    _check_targets(config, plugins)


def _check_targets(config: dict, plugins: Iterable[str]) -> None:
    listed = _listed(plugins)
    for plugin in listed:
        if not _files(plugin):
            raise BadInput(f"plugins={plugin}: no such module. Set PYTHONPATH to its folder, as in PYTHONPATH=.")
    for where, target in _targets(config):
        allowed = (*OURS.get(where.partition(".")[0], ()), *listed)
        _require(target, allowed, f"{where}._target_={target}")


def _require(target: object, allowed: tuple[str, ...], setting: str) -> None:
    if not isinstance(target, str) or not _within(target, allowed):
        raise BadInput(f"{setting}: not allowed; {_advice(allowed)}")
    home = _home(target, setting)
    if not _within(home, allowed):
        raise BadInput(f"{setting}: not allowed, because it is {home}; {_advice(allowed)}")


def own_measure(name: str, plugins: Iterable[str]) -> Callable:
    """Return the function that `evidence` names by path; raises BadInput unless a module of `plugins` has it."""
    _require(name, _listed(plugins), f"evidence={name}")
    return located(name)


def require_hydra_allowed(config: DictConfig) -> None:
    """Raise BadInput for a part of node `hydra` that is not allowed: Hydra creates such parts by itself."""
    require_typed(config.hydra)
    _check_targets({"hydra": _settled(config.hydra)}, listed_plugins(config))


def require_typed(hydra: DictConfig) -> None:
    """Raise BadInput for variables and shell commands of node `hydra` that are not on the command line."""
    given = {f"{ENVIRONMENT}.{name}": ENVIRONMENT for name in OmegaConf.select(hydra, "job.env_set") or {}}
    if list(OmegaConf.select(hydra, "launcher.setup") or ()) not in ([], USUAL_SETUP):
        given[SETUP] = SETUP
    for setting, whole in given.items():
        if not any(is_set(word, setting) or is_set(word, whole) for word in sys.argv[1:]):
            raise BadInput(f"{setting} is set in a config file, and can run programs. Set it on the command line")


def is_set(word: str, setting: str) -> bool:
    """Return whether a word of the command line sets this setting."""
    return word.lstrip("+").startswith(f"{setting}=")


def listed_plugins(config: DictConfig) -> list[str]:
    """Return the setting `plugins` of a composed config; raises BadInput if it is not on the command line."""
    return require_listed(
        OmegaConf.to_container(config.plugins) if OmegaConf.is_list(config.plugins) else config.plugins
    )


def require_listed(plugins: object) -> list[str]:
    """Return the setting `plugins`; raises BadInput as `listed_plugins` does."""
    if not isinstance(plugins, list) or not all(map(_is_module_name, plugins)):
        raise BadInput(f"plugins={plugins}: must be a list of module names, as in plugins=[mine]")
    if plugins and not any(is_set(word, "plugins") for word in sys.argv[1:]):
        raise BadInput(f"plugins=[{','.join(plugins)}] is set in a config file. Set it on the command line")
    return plugins


def sources(node: dict, plugins: Iterable[str]) -> dict[str, str]:
    """Hash the source files of every package that a `_target_` or `evidence` in `node` takes from `plugins`."""
    listed = _listed(plugins)
    names = [*(target for _, target in _targets(node)), *node.get("evidence", [])]
    used = {name.partition(".")[0] for name in names if _within(name, listed)}
    return {package: _hashed(package) for package in sorted(used)}


def _is_module_name(name: object) -> bool:
    return isinstance(name, str) and all(part.isidentifier() for part in name.split("."))


def _listed(plugins: Iterable[str]) -> tuple[str, ...]:
    """Return the plugins and the modules in $SOFTTARGETS_PLUGINS, for an agent that runs configs of others."""
    return (*plugins, *filter(None, os.environ.get("SOFTTARGETS_PLUGINS", "").split(",")))


def _within(name: str, modules: Iterable[str]) -> bool:
    return any(f"{name}.".startswith(f"{module}.") for module in modules)


def _advice(allowed: tuple[str, ...]) -> str:
    ours = f"use a name in {', '.join(allowed)}, or " if allowed else ""
    return f"{ours}list your module on the command line, as in plugins=[mine]"


def _targets(node: object, where: str = "") -> Iterator[tuple[str, object]]:
    """Yield every `_target_` at any depth, with the dotted name of its node."""
    for place, child in _walk(node, where):
        if isinstance(child, dict) and "_target_" in child:
            yield place, child["_target_"]


def _walk(node: object, where: str = "") -> Iterator[tuple[str, object]]:
    """Yield a node and all nodes in it at any depth, with dotted names."""
    yield where, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, child in children:
        yield from _walk(child, f"{where}.{name}" if where else str(name))


def _home(target: str, setting: str) -> str:
    """Return the module and name where the part is defined; `target` may be another name of it."""
    try:
        part = located(target)
    except Exception as error:  # the user's module may raise anything
        raise BadInput(f"{setting}: cannot be imported ({reason(error)})") from error
    if not callable(part):
        raise BadInput(f"{setting}: cannot be called; it must be a function or a class")
    return f"{getattr(part, '__module__', None)}.{getattr(part, '__qualname__', type(part).__qualname__)}"


def _settled(node: Container) -> dict:
    """Return plain data with interpolations resolved, without values that are unknown yet (a job's number)."""
    values = {}
    for name in range(len(node)) if OmegaConf.is_list(node) else node:
        try:
            child = node[name]
        except OmegaConfBaseException:
            continue  # Hydra cannot use it either
        values[name] = _settled(child) if OmegaConf.is_config(child) else child
    return values


def _files(module: str) -> list[tuple[str, Path]]:
    """Return the source files of a module's package, by name; an empty list if there is no such package."""
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except ValueError:
        return []  # a script that runs as __main__ has no spec
    if spec is None or not (spec.has_location or spec.submodule_search_locations):
        return []
    if spec.submodule_search_locations is None:
        return [(spec.name, Path(spec.origin))]
    folders = map(Path, spec.submodule_search_locations)
    return sorted(
        (file.relative_to(folder).as_posix(), file) for folder in folders for file in folder.rglob("*.py")
    )


@functools.cache
def _hashed(package: str) -> str:
    """Hash a package's files once for each process: edits do not change modules that are imported already."""
    sha256 = hashlib.sha256()
    for name, file in _files(package):
        sha256.update(f"{name} {file.stat().st_size}\n".encode() + file.read_bytes())
    return sha256.hexdigest()
