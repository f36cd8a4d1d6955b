"""Marks of parts: declared ones are read, and a misspelt one is refused wherever it is written."""

import dataclasses
import functools
import importlib
import pickle

import pytest
from conftest import CONF, ROOT
from hydra.utils import get_object

from softtargets import marks
from softtargets.config.allowed_targets import _targets
from softtargets.errors import BadInput
from softtargets.execution.experiment import build
from softtargets.marks import Algorithm, Dataset, ForgetSet, Marks, Measure, Targets
from softtargets.mu_algo.finetune import finetune
from softtargets.system import yaml_text

DECORATORS = {
    marks.algorithm: Algorithm,
    marks.targets_kind: Targets,
    marks.forget_set: ForgetSet,
    marks.dataset: Dataset,
    marks.measure: Measure,
}
GROUPS = ("architecture", "dataset", "forget_set", "mu_algo", "targets")


@pytest.mark.parametrize("group", GROUPS)
def test_parts_of_ours_have_declared_marks_alone(group):
    files = [yaml_text.load(file.read_text()) for file in CONF.glob(f"{group}/**/*.yaml")]
    parts = {target for node in files for _, target in _targets(node)}
    assert parts
    for target in parts:
        assert isinstance(marks.of_group(group).of(get_object(target)), Marks)


@pytest.mark.parametrize(("decorator", "kind"), DECORATORS.items(), ids=lambda one: one.__name__)
def test_a_decorator_and_an_attribute_say_the_same(decorator, kind):
    for field in dataclasses.fields(kind):
        value = True if isinstance(field.default, bool) else len
        declared, by_hand = decorator(**{field.name: value})(lambda: None), lambda: None
        setattr(by_hand, field.name, value)
        by_hand._own = "begins with an underscore"
        for part in (declared, by_hand, functools.partial(by_hand)):
            assert vars(kind.of(part))[field.name] is value
    assert kind.of(lambda: None) == kind.of(functools.partial(dict)) == kind()


@pytest.mark.parametrize(("decorator", "kind"), DECORATORS.items(), ids=lambda one: one.__name__)
def test_a_decorator_refuses_what_it_does_not_know(decorator, kind):
    names = ", ".join(field.name for field in dataclasses.fields(kind))
    last = names.rpartition(" ")[2]
    with pytest.raises(TypeError, match=rf"^{last}_ is not a mark of {kind.part}; use {names}, .*mean {last}\?"):
        decorator(**{f"{last}_": True})
    with pytest.raises(TypeError, match=rf"^the mark {last} is 3; it must be (a function|True or False)"):
        decorator(**{last: 3})


def test_a_mark_that_is_a_fact_is_true_or_false():
    with pytest.raises(TypeError, match=r"^the mark has_no_loop is 'no'; it must be True or False"):
        marks.algorithm(has_no_loop="no")


def test_what_ignores_all_targets_ignores_those_of_the_forget_set():
    assert Algorithm(ignores_targets=True).ignores_forget_targets
    assert not Algorithm(ignores_forget_targets=True).ignores_targets


def test_a_part_with_marks_is_pickled_by_its_name():
    assert pickle.loads(pickle.dumps(finetune)) is finetune
    assert Algorithm.of(finetune) == Algorithm(ignores_forget_targets=True, smooths_labels=True)


OWN = """
import softtargets.marks


def unlearn(original, forget, retain, fit):
    return original


def kind(source):
    return source.one_hot()


def choose(candidates, generator):
    return None


def load():
    return None


{line}
"""
BY_HAND = {
    "mu_algo": ("unlearn.ignore_forget_targets = True", "ignores_forget_targets"),
    "targets.forget": ("kind.upperbound = True", "upper_bound"),
    "forget_set": ("choose.fixd = True", "fixed"),
    "dataset": ("load.read = len", "reads"),
}


@pytest.fixture
def own(tmp_path, monkeypatch, composed):
    """`own(setting, line)`: builds a run with a part of a module that ends with this line."""
    monkeypatch.syspath_prepend(tmp_path)

    def built(setting: str, line: str) -> None:
        (tmp_path / f"{tmp_path.name}.py").write_text(OWN.format(line=line))
        importlib.invalidate_caches()
        function = {"mu_algo": "unlearn", "targets.forget": "kind", "forget_set": "choose", "dataset": "load"}
        config = composed("plugins=[]") | {"plugins": [tmp_path.name]}
        *above, name = setting.split(".")
        node = functools.reduce(dict.get, above, config)
        node[name] = {"seed": 0} if name == "forget_set" else {}
        node[name] |= {"_target_": f"{tmp_path.name}.{function[setting]}"}
        if name == "dataset":
            usual = composed()["dataset"]
            node[name] |= {key: usual[key] for key in ("train_size", "validation_fraction", "seed", "mean", "std")}
        build(config)

    return built


@pytest.mark.parametrize("setting", BY_HAND)
def test_a_misspelt_attribute_is_refused_before_any_work(own, setting):
    line, meant = BY_HAND[setting]
    name = line.partition(" ")[0].partition(".")[2]
    sentence = rf"^{setting}\._target_=.*: {name} is not a mark of .*; did you mean {meant}\?$"
    with pytest.raises(BadInput, match=sentence):
        own(setting, line)


def test_a_misspelt_decorator_is_refused_in_one_sentence(own):
    sentence = (
        r"^mu_algo\._target_=\S+: cannot be imported \(.*has_no_lop is not a mark of an algo.* has_no_loop\?"
    )
    with pytest.raises(BadInput, match=sentence):
        own("mu_algo", "softtargets.marks.algorithm(has_no_lop=True)(unlearn)")


@pytest.mark.parametrize("kind", DECORATORS.values(), ids=lambda kind: kind.__name__)
def test_every_mark_is_in_the_documentation(kind):
    text = (ROOT / "docs/parts.md").read_text()
    for field in dataclasses.fields(kind):
        assert f"`{field.name}=" in text
