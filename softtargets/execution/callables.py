"""The functions and classes that a config names by `_target_`, bound to its settings and checked."""

import functools

import pydantic
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from softtargets import marks
from softtargets.config.validation import check_call, naming, validated
from softtargets.errors import BadInput


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
        return instantiate(node | {"_partial_": True}, _convert_="all")
    except InstantiationException as error:
        cause = " ".join(str(error).split())
        raise BadInput(f"{where}._target_={node['_target_']}: cannot be imported ({cause})") from error


def take_settings(model: type[pydantic.BaseModel], node: dict, where: str) -> pydantic.BaseModel:
    """Take out of a group what every option of it has, and check it; what is left is for the `_target_`."""
    return validated(model, {name: node.pop(name) for name in list(node) if name in model.model_fields}, where)
