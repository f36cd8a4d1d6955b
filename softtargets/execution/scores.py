"""Scores of training samples, by which some kinds of forget sets choose: their keys in the store."""

import functools
import inspect
import json
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from softtargets import store
from softtargets.config import allowed_targets
from softtargets.config.resolve import decisive
from softtargets.config.settings import ForgetSetSettings
from softtargets.config.validation import naming
from softtargets.errors import BadInput
from softtargets.execution.callables import instantiate_partial
from softtargets.marks import ForgetSet

STAGE = "scores"
CODE = 2
"""Version of the code that computes scores, raised when its output changes."""


def needed(config: dict) -> functools.partial | None:
    """Return the function that scores training samples for a config's forget set, with its settings; None without.

    It takes those settings of the forget set that it names.
    """
    node = {key: one for key, one in config["forget_set"].items() if key not in ForgetSetSettings.model_fields}
    return _needed(json.dumps([node, config.get("sources", {})])) if "_target_" in node else None


@functools.lru_cache(maxsize=8)
def _needed(text: str) -> functools.partial | None:
    """Return what `needed` does, for a forget set and the hashes of the user's code as JSON."""
    node, _ = json.loads(text)
    kind = instantiate_partial(node, "forget_set")
    if inspect.isclass(kind.func):
        return None  # refused elsewhere
    with naming(f"forget_set._target_={node['_target_']}"):
        function = ForgetSet.of(kind).scores
    if function is None:
        return None
    takes = inspect.signature(function).parameters
    return functools.partial(function, **{key: one for key, one in kind.keywords.items() if key in takes})


def ingredients(config: dict, train: str, validation: str) -> dict:
    """Return all that the scores depend on: their function, the recipe of its models, and the digests of the data.

    The run's seed is not among it: all seeds share the scores.
    """
    function, known = needed(config), decisive(config)
    groups = {name: config[name] for name in ("forget_set", "architecture", "training")}
    return {
        "code": CODE,
        "function": f"{function.func.__module__}.{function.func.__qualname__}",
        "settings": function.keywords,
        "architecture": known["architecture"],
        "training": known["training"],
        "train": train,
        "validation": validation,
        "device": known["device"],
        "threads": config["threads"],
        "sources": allowed_targets.sources(groups, config["plugins"]),
    }


def entry(config: dict, train: str, validation: str) -> Path:
    """Return the folder of the store's entry, which may not exist yet."""
    folder = store.store_folder(config["store"]["dir"])
    return folder / STAGE / store.key(STAGE, ingredients(config, train, validation))


def read(path: Path) -> Float[Tensor, " n"]:
    """Return the scores in an entry's folder."""
    loaded = store.load_entry(path)
    if loaded is None:
        raise BadInput(f"{path}: the scores of the forget set are damaged. Remove this folder and run again")
    return loaded.tensors["scores"]
