"""The functions and classes that a config names by `_target_`, bound to its settings and checked."""

import copy
import functools
import json
from collections.abc import Callable

import pydantic
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from softtargets import marks
from softtargets.config.validation import check_call, naming, validated
from softtargets.errors import BadInput, reason


def checked_partial(node: object, where: str, **known) -> functools.partial:
    """Instantiate a `_target_` node with `_partial_` and check its marks and what it will be called with."""
    partial = instantiate_partial(node, where)
    with naming(f"{where}._target_={node['_target_']}"):
        marks.of_group(where.partition(".")[0]).of(partial)
    return check_call(partial, where, **known)


def instantiate_partial(node: object, where: str) -> functools.partial:
    """Return the part of a `_target_` node, bound to its settings, which are not checked yet."""
    if not isinstance(node, dict) or "_target_" not in node:
        raise BadInput(
            f"{where}={node!r}: has no _target_. Choose an option of the group, or give a node with _target_"
        )
    try:
        if _is_plain(node):
            settings = {name: value for name, value in node.items() if not name.startswith("_")}
            return functools.partial(_function(node["_target_"]), **copy.deepcopy(settings))
        return instantiate(node | {"_partial_": True}, _convert_="all")
    except InstantiationException as error:
        raise BadInput(f"{where}._target_={node['_target_']}: cannot be imported ({reason(error)})") from error


def _is_plain(node: dict) -> bool:
    """Return whether a node names a part of torch or of this package, and Hydra has nothing to resolve in it."""
    text = json.dumps(list(node.values()), default=lambda value: "{")
    special = {name for name in node if name.startswith("_")}
    plain = "{" not in text and "???" not in text and special <= {"_target_", "_partial_"}
    return plain and str(node["_target_"]).startswith(("torch.optim.", "softtargets."))


@functools.cache
def _function(target: str) -> Callable:
    """Return what a target names by Hydra, which takes 5 ms for it each time: a sweep may ask for thousands."""
    return instantiate({"_target_": target, "_partial_": True}).func


def take_settings(model: type[pydantic.BaseModel], node: dict, where: str) -> pydantic.BaseModel:
    """Take out of a group what every option of it has, and check it; what is left is for the `_target_`."""
    return validated(model, {name: node.pop(name) for name in list(node) if name in model.model_fields}, where)
