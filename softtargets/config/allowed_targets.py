"""What `_target_` may name: parts of ours, torch's optimisers, and what is in the modules that the user lists.

Whatever a `_target_` names is called, and a config may be somebody else's: that of a run to be repeated, of a task
that was cloned, an option file. So a name is looked at before anything is imported, and what was found under it
once more: `softtargets.datasets.importlib.import_module` is none of ours. Nor can a config file list modules, or
hide a `_target_` in an interpolation that is followed later.
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
from softtargets.errors import BadInput

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
"""Modules, and single parts, that are allowed without being listed, by group."""


def require_allowed(config: dict, plugins: Iterable[str]) -> None:
    """Raise BadInput for the first `_target_` in the groups of `config` that is not allowed, or may come to be."""
    for where, value in _walk(config):
        if isinstance(value, str) and "${" in value:
            raise BadInput(f"{where}={value}: an interpolation that was left open; it must be a value")
    _check_targets(config, plugins)


def _check_targets(config: dict, plugins: Iterable[str]) -> None:
    listed = _listed(plugins)
    for plugin in listed:
        if not _files(plugin):
            raise BadInput(f"plugins={plugin}: no such module; it must be on the path, where PYTHONPATH=. puts it")
    for where, target in _targets(config):
        allowed = (*OURS.get(where.partition(".")[0], ()), *listed)
        _require(target, allowed, f"{where}._target_={target}")


def _require(target: object, allowed: tuple[str, ...], asked: str) -> None:
    if not isinstance(target, str) or not _within(target, allowed):
        raise BadInput(f"{asked}: not allowed; {_advice(allowed)}")
    home = _home(target, asked)
    if not _within(home, allowed):
        raise BadInput(f"{asked}: not allowed, since it is {home}; {_advice(allowed)}")


def own_measure(name: str, plugins: Iterable[str]) -> Callable:
    """Return the function that `evidence` names by path; raises BadInput unless a module of `plugins` has it."""
    _require(name, _listed(plugins), f"evidence={name}")
    return located(name)


def require_hydra_allowed(config: DictConfig) -> None:
    """Raise BadInput for a part that Hydra would make by itself and must not, in a config that it composed."""
    _check_targets({"hydra": _settled(config.hydra)}, users_own(config))


def users_own(config: DictConfig) -> list[str]:
    """Return the setting `plugins` of a composed config; raises BadInput unless the user says so."""
    plugins = OmegaConf.to_container(config.plugins) if OmegaConf.is_list(config.plugins) else config.plugins
    if not isinstance(plugins, list) or not all(map(_is_module_name, plugins)):
        raise BadInput(f"plugins={plugins}: must be a list of modules, as in plugins=[mine]")
    if plugins and not any(word.lstrip("+").startswith("plugins=") for word in sys.argv[1:]):
        raise BadInput(f"plugins=[{','.join(plugins)}] stands in a config file; allowed is the command line alone")
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
    """Add what the user lists in the environment, as where an agent runs what others have edited."""
    return (*plugins, *filter(None, os.environ.get("SOFTTARGETS_PLUGINS", "").split(",")))


def _within(name: str, modules: Iterable[str]) -> bool:
    return any(f"{name}.".startswith(f"{module}.") for module in modules)


def _advice(allowed: tuple[str, ...]) -> str:
    ours = "".join(f"{name}, " for name in allowed)
    return f"allowed are {ours}{'and ' * bool(ours)}modules that the command line lists, as in plugins=[mine]"


def _targets(node: object, where: str = "") -> Iterator[tuple[str, object]]:
    """Yield every `_target_` at any depth, with the dotted name of its node."""
    for place, found in _walk(node, where):
        if isinstance(found, dict) and "_target_" in found:
            yield place, found["_target_"]


def _walk(node: object, where: str = "") -> Iterator[tuple[str, object]]:
    """Yield a node and all that is in it at any depth, with dotted names."""
    yield where, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, child in children:
        yield from _walk(child, f"{where}.{name}" if where else str(name))


def _home(target: str, asked: str) -> str:
    """Return where the part was defined, whatever it is called elsewhere."""
    try:
        found = located(target)
    except Exception as error:  # a module of the user's may raise anything
        raise BadInput(f"{asked}: cannot be imported ({' '.join(str(error).split())})") from error
    if not callable(found):
        raise BadInput(f"{asked}: cannot be called; it must be a function or a class")
    return f"{getattr(found, '__module__', None)}.{getattr(found, '__qualname__', type(found).__qualname__)}"


def _settled(node: Container) -> dict:
    """Return plain data, interpolations followed, without what cannot be known yet, like a job's number."""
    found = {}
    for name in range(len(node)) if OmegaConf.is_list(node) else node:
        try:
            child = node[name]
        except OmegaConfBaseException:
            continue  # nor could Hydra make anything of it
        found[name] = _settled(child) if OmegaConf.is_config(child) else child
    return found


def _files(module: str) -> list[tuple[str, Path]]:
    """Return the source files of a module's package, by name; none where there is no such package."""
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except ValueError:
        return []  # what runs as __main__ has no spec
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
    """Hash the files once: a process goes on with what it has imported, whatever is edited meanwhile."""
    found = hashlib.sha256()
    for name, file in _files(package):
        found.update(f"{name} {file.stat().st_size}\n".encode() + file.read_bytes())
    return found.hexdigest()
