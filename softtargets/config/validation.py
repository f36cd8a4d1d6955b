"""Checks of settings: names, types and ranges, before any work.

A setting's type and range stand once, in the annotation of its parameter.
"""

import contextlib
import functools
import inspect
import re
import typing
from collections.abc import Callable, Iterable

import pydantic
from pydantic.fields import FieldInfo

from softtargets.errors import BadInput, nearest, reason

FORBID = pydantic.ConfigDict(
    extra="forbid", strict=True, arbitrary_types_allowed=True, allow_inf_nan=False, protected_namespaces=()
)


class NotTaken(BadInput):
    """Settings that no part has."""

    settings: tuple[str, ...] = ()
    """Their dotted names."""


def validated(
    model: type[pydantic.BaseModel], values: dict, where: str, beside: Iterable[str] = ()
) -> pydantic.BaseModel:
    """Return the validated `values`; raises BadInput for the first wrong one.

    `beside`: further allowed names, whose values are checked elsewhere.
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
        choices = f"choose one of {', '.join(names)}" if names else "there are none here"
        return f"{name}={error['input']!r}: no such setting; {choices}{meant}"
    if error["type"] == "missing":
        return f"{name} is required: +{name}=VALUE"
    if error["type"] == "model_type":
        return f"{name}={error['input']!r}: must be a group of settings. Set one, as in {name}.SETTING=VALUE"
    message = error["msg"].removeprefix("Value error, ").replace("Input should", "must")
    meant = nearest(str(error["input"]), re.findall("'(.+?)'", error.get("ctx", {}).get("expected", "")))
    if error["type"] == "list_type" and isinstance(error["input"], str | int | float):
        meant = f"; a list has brackets: {name}=[{error['input']}]"
    elif error["type"] == "int_type" and (several := _several(error["input"])):
        meant = f"; several values make a sweep: -m '{name}={several}'"
    return f"{name}={error['input']!r}: {message[0].lower()}{message[1:]}{meant}"


def _several(value: object) -> str | None:
    """Return the values of a sweep as they are typed, for what looks like a list or a range; else None."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    ends = re.fullmatch(r"(\d+)(?:\.\.|-|:)(\d+)", str(value))
    return f"range({ends[1]},{int(ends[2]) + 1})" if ends else None


def _names(model: type[pydantic.BaseModel], error: dict) -> list[str]:
    """Return the names beside the setting of `error`, in the model nested at its place."""
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
    """Return `partial` with checked keywords; raises BadInput if it cannot be called.

    The call passes `given` by position and `named` by name. Keywords are checked against the annotations and get
    their type: 1 becomes 1.0 for a float. `hints` replace the annotations, as for other libraries' classes.
    `beside` is as in `validated`.
    """
    with naming(where):
        parameters = list(inspect.signature(partial.func).parameters.values())
    check_positions(parameters, given, f"{where}._target_={_path(partial.func)}")
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return partial  # it takes any keyword and has to check them itself
    key = (id(partial.func), given, named, id(hints))
    if key not in _KEYWORDS:
        settings = [one for one in parameters[len(given) :] if one.name not in named]
        # with both objects, as the identity of one that is gone could be another's
        _KEYWORDS[key] = (partial.func, hints, _keywords(partial.func, settings, where, hints))
    checked = validated(_KEYWORDS[key][-1], partial.keywords, where, beside)
    return functools.partial(
        partial.func, **{name: getattr(checked, f"setting_{name}") for name in partial.keywords}
    )


_KEYWORDS: dict[tuple, tuple] = {}
"""Models of keywords: pydantic takes 2 ms to make one, and a sweep asks for thousands."""


def _keywords(
    function: Callable, settings: list[inspect.Parameter], where: str, hints: dict | None
) -> type[pydantic.BaseModel]:
    """Return the model that checks these parameters of a function or class."""
    constructor = function.__init__ if inspect.isclass(function) else function
    if hints is None:
        with naming(f"{where}: its annotations cannot be read", (NameError, TypeError, SyntaxError)):
            hints = typing.get_type_hints(constructor, include_extras=True)
    fields = {
        # with a prefix: a setting may have the name of a method of pydantic's
        f"setting_{parameter.name}": (hints.get(parameter.name, typing.Any), _field(parameter))
        for parameter in settings
        if parameter.kind is not parameter.VAR_POSITIONAL
    }
    return pydantic.create_model("Keywords", __config__=FORBID, **fields)


def check_positions(parameters: list[inspect.Parameter], given: tuple[str, ...], part: str) -> None:
    """Raise BadInput for a `part` whose arguments would take another's place."""
    names = [parameter.name for parameter in parameters]
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_more = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    call = f"the call is ({', '.join(given)})"
    if len(places) < len(given) and not takes_more:
        raise BadInput(f"{part}: takes ({', '.join(p.name for p in places)}) by position, but {call}")
    for place, name in enumerate(given):
        if name in names and names.index(name) != place:
            raise BadInput(f"{part}: takes {name} as argument {names.index(name) + 1}, but {call}")
    for parameter in places[len(given) :]:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise BadInput(f"{part}: takes {parameter.name} by position only. Settings are passed by name")


def _path(part: object) -> str:
    return f"{part.__module__}.{getattr(part, '__qualname__', type(part).__qualname__)}"


def _field(parameter: inspect.Parameter) -> FieldInfo:
    default = ... if parameter.default is parameter.empty else parameter.default
    return pydantic.Field(default, alias=parameter.name)


@contextlib.contextmanager
def naming(setting: str, errors: tuple[type[Exception], ...] = (ValueError, TypeError)):
    """Raise BadInput that names the setting for `errors` in the block; a user's code may raise any error."""
    try:
        yield
    except BadInput:
        raise
    except errors as error:
        raise BadInput(f"{setting}: {reason(error)[:1000]}") from error
