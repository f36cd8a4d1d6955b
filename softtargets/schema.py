"""Settings against what takes them: names, types and ranges, checked before any work.

A setting's type and range stand once, in the annotation of the parameter that takes it.
"""

import contextlib
import functools
import inspect
import typing

import pydantic
from pydantic.fields import FieldInfo

from softtargets.errors import BadInput

FORBID = pydantic.ConfigDict(
    extra="forbid", strict=True, arbitrary_types_allowed=True, allow_inf_nan=False, protected_namespaces=()
)


def check(model: type[pydantic.BaseModel], values: dict, where: str) -> pydantic.BaseModel:
    """Validate `values` or raise BadInput for the first that is wrong."""
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        raise BadInput(_sentence(error.errors()[0], model, where)) from None


def _sentence(error: dict, model: type[pydantic.BaseModel], where: str) -> str:
    name = ".".join(filter(None, [where, *map(str, error["loc"])]))
    if error["type"] == "extra_forbidden":
        return (
            f"{name}={error['input']!r}: no such setting; allowed are {', '.join(_names(model, error)) or 'none'}"
        )
    if error["type"] == "missing":
        return f"{name} is missing; it must be given"
    message = error["msg"].removeprefix("Value error, ").replace("Input should", "must")
    return f"{name}={error['input']!r}: {message[0].lower()}{message[1:]}"


def _names(model: type[pydantic.BaseModel], error: dict) -> list[str]:
    """Return what stands beside the setting of `error`, in the model that is nested at its place."""
    for part in error["loc"][:-1]:
        model = model.model_fields[part].annotation
    return [field.alias or name for name, field in model.model_fields.items()]


def check_call(
    partial: functools.partial, where: str, *, given: int = 0, named: tuple[str, ...] = (), typed: bool = True
) -> functools.partial:
    """Return `partial`, known to be callable with `given` positional arguments and the `named` ones.

    Its keywords are held against the annotations too (and take their type: 1 becomes 1.0 where a float is asked
    for), unless `typed` is off, as for other people's classes.
    """
    parameters = list(inspect.signature(partial.func).parameters.values())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return partial  # it takes anything and must check for itself
    constructor = partial.func.__init__ if inspect.isclass(partial.func) else partial.func
    hints = typing.get_type_hints(constructor, include_extras=True) if typed else {}
    fields = {
        # under a name of its own: a setting may be called like a method of pydantic's
        f"setting_{parameter.name}": (hints.get(parameter.name, typing.Any), _field(parameter))
        for parameter in parameters[given:]
        if parameter.name not in named
    }
    found = check(pydantic.create_model("Keywords", __config__=FORBID, **fields), partial.keywords, where)
    return functools.partial(
        partial.func, **{name: getattr(found, f"setting_{name}") for name in partial.keywords}
    )


def _field(parameter: inspect.Parameter) -> FieldInfo:
    default = ... if parameter.default is parameter.empty else parameter.default
    return pydantic.Field(default, alias=parameter.name)


@contextlib.contextmanager
def naming(setting: str):
    """Turn a ValueError or TypeError within into BadInput that names the setting."""
    try:
        yield
    except BadInput:
        raise
    except (ValueError, TypeError) as error:
        raise BadInput(f"{setting}: {' '.join(str(error).split())}") from error
