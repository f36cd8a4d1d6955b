"""What a user gets wrong in a setting ends in one sentence that names it."""

import functools
from typing import Annotated

import pydantic
import pytest
from pydantic import Field

from softtargets.config.validation import FORBID, check_call, naming, validated
from softtargets.errors import BadInput


class Nested(pydantic.BaseModel):
    model_config = FORBID
    dir: str | None


class Group(pydantic.BaseModel):
    model_config = FORBID
    size: Annotated[int, Field(ge=1)] | None
    store: Nested


def part(
    given,
    *,
    alpha: Annotated[float, Field(ge=0)],
    count: Annotated[int, Field(ge=1)],
    name: str = "a",
    loud: bool = False,
    widths: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = (1,),
):
    return given, alpha, count


def called(**changes):
    return check_call(functools.partial(part, **{"alpha": 0.5, "count": 2} | changes), "mu_algo", given=("given",))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"alhpa": 2},
            "mu_algo.alhpa=2: no such setting; choose one of alpha, count, name, loud, widths; did you mean "
            "alpha?",
        ),
        ({"given": 2}, "mu_algo.given=2: no such setting; choose one of alpha, count, name, loud, widths"),
        ({"alpha": -0.1}, "mu_algo.alpha=-0.1: must be greater than or equal to 0"),
        ({"alpha": float("nan")}, "mu_algo.alpha=nan: must be a finite number"),
        ({"alpha": float("inf")}, "mu_algo.alpha=inf: must be a finite number"),
        ({"alpha": "1"}, "mu_algo.alpha='1': must be a valid number"),
        ({"alpha": "1e-3"}, "mu_algo.alpha='1e-3': must be a valid number"),
        ({"alpha": True}, "mu_algo.alpha=True: must be a valid number"),
        ({"alpha": None}, "mu_algo.alpha=None: must be a valid number"),
        ({"count": 0}, "mu_algo.count=0: must be greater than or equal to 1"),
        ({"count": True}, "mu_algo.count=True: must be a valid integer"),
        ({"count": 1.0}, "mu_algo.count=1.0: must be a valid integer"),
        (
            {"count": "0-4"},
            "mu_algo.count='0-4': must be a valid integer; several values make a sweep: -m "
            "'mu_algo.count=range(0,5)'",
        ),
        (
            {"count": [1, 2]},
            "mu_algo.count=[1, 2]: must be a valid integer; several values make a sweep: -m 'mu_algo.count=1,2'",
        ),
        ({"count": "3"}, "mu_algo.count='3': must be a valid integer"),
        ({"name": 3}, "mu_algo.name=3: must be a valid string"),
        ({"loud": 1}, "mu_algo.loud=1: must be a valid boolean"),
        ({"loud": "false"}, "mu_algo.loud='false': must be a valid boolean"),
        ({"widths": [3, 0]}, "mu_algo.widths.1=0: must be greater than or equal to 1"),
        ({"widths": 3}, "mu_algo.widths=3: must be a valid list; a list has brackets: mu_algo.widths=[3]"),
    ],
    ids=str,
)
def test_wrong_setting_is_named_with_its_value_and_what_is_allowed(changes, sentence):
    with pytest.raises(BadInput) as caught:
        called(**changes)
    assert str(caught.value) == sentence


def test_empty_list_is_refused_where_one_is_needed():
    with pytest.raises(BadInput, match=r"^mu_algo\.widths=\[\]: .* at least 1 item"):
        called(widths=[])


def test_missing_setting_is_named():
    with pytest.raises(BadInput, match=r"^mu_algo\.count is required: \+mu_algo\.count=VALUE$"):
        check_call(functools.partial(part, alpha=1.0), "mu_algo", given=("given",))


def test_checked_call_gets_what_was_asked_for():
    assert called()("x") == ("x", 0.5, 2)
    found = called(alpha=1, widths=[2, 3])
    assert type(found.keywords["alpha"]) is float
    assert found.keywords == {"alpha": 1.0, "count": 2, "widths": [2, 3]}


def test_names_known_later_may_be_missing():
    def architecture(*, input_shape: tuple[int, ...], classes: int, hidden: int):
        return input_shape, classes, hidden

    known = {"named": ("input_shape", "classes")}
    found = check_call(functools.partial(architecture, hidden=3), "architecture", **known)
    assert found(input_shape=(1,), classes=2) == ((1,), 2, 3)
    with pytest.raises(BadInput, match=r"architecture\.classes=2: no such setting; choose one of hidden$"):
        check_call(functools.partial(architecture, hidden=3, classes=2), "architecture", **known)


def test_other_peoples_types_are_left_alone_but_their_names_are_not():
    def optimizer(parameters, lr: float = 0.1, fused: bool | None = None):
        return lr

    loose = functools.partial(check_call, given=("params",), hints={})
    assert loose(functools.partial(optimizer, lr="0.3"), "optimizer")([]) == "0.3"
    with pytest.raises(BadInput, match=r"optimizer\.rate=1: no such setting; choose one of lr, fused"):
        loose(functools.partial(optimizer, rate=1), "optimizer")


def test_classes_are_checked_by_their_constructor():
    class Net:
        def __init__(self, *, width: Annotated[int, Field(ge=1)]):
            self.width = width

    assert check_call(functools.partial(Net, width=2), "architecture")().width == 2
    with pytest.raises(BadInput, match=r"architecture\.width=0: must be"):
        check_call(functools.partial(Net, width=0), "architecture")


@pytest.mark.parametrize("name", ["copy", "json", "schema"])
def test_setting_may_be_called_as_it_likes(name):
    namespace = {}
    exec(f"def part(*, {name}: int): return {name}", namespace)
    assert check_call(functools.partial(namespace["part"], **{name: 1}), "mu_algo")() == 1


def test_groups_are_checked_alike():
    good = {"size": None, "store": {"dir": None}}
    assert validated(Group, good, "dataset").size is None
    for bad, sentence in (
        ({"size": 0}, r"^dataset\.size=0: must be greater than or equal to 1$"),
        ({"size": "3"}, r"^dataset\.size='3': must be a valid integer$"),
        ({"szie": 3}, r"^dataset\.szie=3: no such setting; choose one of size, store; did you mean size\?$"),
        ({"store": {"dir": 3}}, r"^dataset\.store\.dir=3: must be a valid string$"),
        ({"store": {}}, r"^dataset\.store\.dir is required"),
    ):
        with pytest.raises(BadInput, match=sentence):
            validated(Group, good | bad, "dataset")
    with pytest.raises(BadInput, match=r"^size is required"):
        validated(Group, {"store": {"dir": None}}, "")


def test_unknown_setting_of_a_nested_group_names_those_beside_it():
    with pytest.raises(BadInput, match=r"store\.dri='x': no such setting; choose one of dir; did you mean dir\?$"):
        validated(Group, {"size": 1, "store": {"dir": "x", "dri": "x"}}, "")


@pytest.mark.parametrize("error", [ValueError, TypeError])
def test_naming_turns_an_error_into_one_line(error):
    with pytest.raises(BadInput, match=r"^dataset: too small; by 3$") as caught, naming("dataset"):
        raise error("too small;\n   by 3")
    assert isinstance(caught.value.__cause__, error)


def test_naming_lets_bad_input_and_other_errors_pass():
    for error in (BadInput("seed=-1"), ZeroDivisionError("1/0")):
        with pytest.raises(type(error), match=f"^{error}$"), naming("dataset"):
            raise error


def takes(original, forget, retain, fit, *, alpha: float = 1.0):
    return original, forget, retain, fit


def other_order(original, retain, forget, fit):
    return original


def too_few(original, forget):
    return original


def by_position_alone(original, forget, retain, fit, alpha, /):
    return original


def other_words(model, forgotten, kept, trainer):
    return model


def anything(original, *arguments, **settings):
    return settings


def unreadable(original, forget, retain, fit, *, alpha: "Missing"):  # noqa: F821
    return original


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (
            other_order,
            "takes forget as argument 3, but the call is (original, forget, retain, fit)",
        ),
        (too_few, "takes (original, forget) by position, but the call is (original, forget, retain, fit)"),
        (by_position_alone, "takes alpha by position only. Settings are passed by name"),
    ],
)
def test_a_part_that_takes_an_argument_at_anothers_place_is_refused(function, sentence):
    with pytest.raises(BadInput) as caught:
        check_call(functools.partial(function), "mu_algo", given=("original", "forget", "retain", "fit"))
    assert str(caught.value) == f"mu_algo._target_=test_validation.{function.__name__}: {sentence}"


@pytest.mark.parametrize("function", [takes, other_words, anything])
def test_a_part_may_have_other_words_for_what_it_is_given(function):
    check_call(functools.partial(function), "mu_algo", given=("original", "forget", "retain", "fit"))


def test_a_part_that_takes_any_setting_gets_them_as_they_are():
    found = check_call(functools.partial(anything, alpha="1"), "mu_algo", given=("original",))
    assert found(None) == {"alpha": "1"}


def test_annotations_that_cannot_be_read_are_refused():
    with pytest.raises(
        BadInput, match=r"^mu_algo: its annotations cannot be read: name 'Missing' is not defined$"
    ):
        check_call(
            functools.partial(unreadable, alpha=1), "mu_algo", given=("original", "forget", "retain", "fit")
        )
