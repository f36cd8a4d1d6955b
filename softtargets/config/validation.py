"""Settings against what takes them: names, types and ranges, checked before any work.

A setting's type and range stand once, in the annotation of the parameter that takes it.
"""

import contextlib
import functools
import inspect
import re
import typing
from collections.abc import Iterable

import pydantic
from pydantic.fields import FieldInfo

from softtargets.errors import BadInput, nearest

FORBID = pydantic.ConfigDict(
    extra="forbid", strict=True, arbitrary_types_allowed=True, allow_inf_nan=False, protected_namespaces=()
)


class NotTaken(BadInput):
    """Settings that nothing takes."""

    settings: tuple[str, ...] = ()
    """Their dotted names."""


def validated(
    model: type[pydantic.BaseModel], values: dict, where: str, beside: Iterable[str] = ()
) -> pydantic.BaseModel:
    """Validate `values` or raise BadInput for the first that is wrong.

    `beside`: names that are allowed there too, and whose values are checked elsewhere.
    """
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        errors = error.errors()
        sentence = _sentence(errors[0], model, where, beside)
        if errors[0]["type"] != "extra_forbidden":
            raise BadInput(sentence) from None
        refused = NotTaken(sentence)
        refused.settings = tuple(_dotted(where, one) for one in errors if one["type"] == "extra_forbidden")
        raise refused from None


def _dotted(where: str, error: dict) -> str:
    return ".".join(filter(None, [where, *map(str, error["loc"])]))


def _sentence(error: dict, model: type[pydantic.BaseModel], where: str, beside: Iterable[str]) -> str:
    name = _dotted(where, error)
    if error["type"] == "extra_forbidden":
        names = [*_names(model, error), *beside]
        meant = nearest(str(error["loc"][-1]), names)
        return f"{name}={error['input']!r}: no such setting; allowed are {', '.join(names) or 'none'}{meant}"
    if error["type"] == "missing":
        return f"{name} is missing; it must be given, as in +{name}=VALUE"
    if error["type"] == "model_type":
        return f"{name}={error['input']!r}: must be a group of settings, as in {name}.SETTING=VALUE"
    message = error["msg"].removeprefix("Value error, ").replace("Input should", "must")
    meant = nearest(str(error["input"]), re.findall("'(.+?)'", error.get("ctx", {}).get("expected", "")))
    if error["type"] == "list_type" and isinstance(error["input"], str | int | float):
        meant = f"; a list stands in brackets: {name}=[{error['input']}]"
    elif error["type"] == "int_type" and (several := _several(error["input"])):
        meant = f"; several values make a sweep: -m '{name}={several}'"
    return f"{name}={error['input']!r}: {message[0].lower()}{message[1:]}{meant}"


def _several(value: object) -> str | None:
    """Return how a sweep is typed over what looks like a list or a range, else None."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    ends = re.fullmatch(r"(\d+)(?:\.\.|-|:)(\d+)", str(value))
    return f"range({ends[1]},{int(ends[2]) + 1})" if ends else None


def _names(model: type[pydantic.BaseModel], error: dict) -> list[str]:
    """Return what stands beside the setting of `error`, in the model that is nested at its place."""
    for part in error["loc"][:-1]:
        model = model.model_fields[part].annotation
    return [field.alias or name for name, field in model.model_fields.items()]


def check_call(
    partial: functools.partial,
    where: str,
    *,
    given: tuple[str, ...] = (),
    named: tuple[str, ...] = (),
    hints: dict | None = None,
    beside: Iterable[str] = (),
) -> functools.partial:
    """Return `partial`, known to be callable with what is `given` by position and what is `named`.

    Its keywords are held against the annotations too (and take their type: 1 becomes 1.0 where a float is asked
    for), or against `hints` in their place, as for other people's classes. `beside` is as in `check`.
    """
    with naming(where):
        parameters = list(inspect.signature(partial.func).parameters.values())
    check_positions(parameters, given, f"{where}._target_={_path(partial.func)}")
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return partial  # it takes anything and must check for itself
    constructor = partial.func.__init__ if inspect.isclass(partial.func) else partial.func
    if hints is None:
        with naming(f"{where}: its annotations cannot be read", (NameError, TypeError, SyntaxError)):
            hints = typing.get_type_hints(constructor, include_extras=True)
    fields = {
        # under a name of its own: a setting may be called like a method of pydantic's
        f"setting_{parameter.name}": (hints.get(parameter.name, typing.Any), _field(parameter))
        for parameter in parameters[len(given) :]
        if parameter.name not in named and parameter.kind is not parameter.VAR_POSITIONAL
    }
    model = pydantic.create_model("Keywords", __config__=FORBID, **fields)
    found = validated(model, partial.keywords, where, beside)
    return functools.partial(
        partial.func, **{name: getattr(found, f"setting_{name}") for name in partial.keywords}
    )


def check_positions(parameters: list[inspect.Parameter], given: tuple[str, ...], part: str) -> None:
    """Raise BadInput for a `part` whose arguments would take another's place."""
    names = [parameter.name for parameter in parameters]
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_more = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    wanted = f"it is called with ({', '.join(given)})"
    if len(places) < len(given) and not takes_more:
        raise BadInput(f"{part}: takes ({', '.join(p.name for p in places)}) by position; {wanted}")
    for place, name in enumerate(given):
        if name in names and names.index(name) != place:
            raise BadInput(f"{part}: takes {name} as argument {names.index(name) + 1}; {wanted}, in this order")
    for parameter in places[len(given) :]:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise BadInput(f"{part}: takes {parameter.name} by position alone; settings are given by name")


def _path(part: object) -> str:
    return f"{part.__module__}.{getattr(part, '__qualname__', type(part).__qualname__)}"


def _field(parameter: inspect.Parameter) -> FieldInfo:
    default = ... if parameter.default is parameter.empty else parameter.default
    return pydantic.Field(default, alias=parameter.name)


@contextlib.contextmanager
def naming(setting: str, errors: tuple[type[Exception], ...] = (ValueError, TypeError)):
    """Turn `errors` within into BadInput that names the setting; what other people's code raises may be any."""
    try:
        yield
    except BadInput:
        raise
    except errors as error:
        reason = " ".join(str(error).split())[:1000] or type(error).__name__
        raise BadInput(f"{setting}: {reason}") from error
