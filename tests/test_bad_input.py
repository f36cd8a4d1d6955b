"""What a hostile user types: a table that grows with conf/ and the schema, combinations by hand, and noise."""

import copy
import dataclasses
import functools
import os
import shutil
import sys
import typing
from typing import Annotated

import hypothesis
import numpy
import PIL.Image
import pydantic
import pytest
import torch
from conftest import CONF, options, suited
from hydra import compose, initialize_config_dir
from hydra.utils import get_object
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, open_dict

import run
import softtargets.cli.main
from softtargets.cli.main import refusing
from softtargets.config import dataset_names
from softtargets.config.resolve import GROUPS
from softtargets.config.settings import (
    OPTIMIZER,
    AlgorithmSettings,
    ArchitectureSettings,
    Augmentation,
    DatasetSettings,
    ForgetSetSettings,
    Settings,
    StoreSettings,
    Thresholds,
    TrackerSettings,
    Training,
    Unlearning,
)
from softtargets.config.validation import FORBID
from softtargets.errors import BadInput
from softtargets.execution import checks, composed_run
from softtargets.execution.experiment import Modifiers
from softtargets.fit import Fit
from softtargets.readers import published
from softtargets.study import sweep

MODELS = {
    "architecture": ArchitectureSettings,
    "mu_algo": AlgorithmSettings,
    "": Settings,
    "store": StoreSettings,
    "diagnosis": Thresholds,
    "tracker": TrackerSettings,
    "dataset": DatasetSettings,
    "forget_set": ForgetSetSettings,
    "training": Training,
    "training.augmentation": Augmentation,
    "unlearn": Unlearning,
    "unlearn.augmentation": Augmentation,
    "targets.forget": Modifiers,
    "targets.retain": Modifiers,
}
"""What every option of a group has in common, by the node's name; the rest is in the signature of its _target_."""
OPTIONS = {
    group: options(group) for group in (*GROUPS, "tracker", "targets/forget", "targets/retain") if options(group)
}
GIVEN = {"dataset.path": "/no/such", "forget_set.path": "/no/such", "architecture.name": "resnet18"}
"""Settings without a default: what they name is looked for after all types were checked."""
NOISE = [
    "abc",
    "",
    True,
    None,
    -1,
    0,
    1,
    0.5,
    1.5,
    10**30,
    -(10**30),
    1e300,
    -1e300,
    float("nan"),
    float("inf"),
    [],
    ["abc"],
    [-1],
    [0],
    [10**30],
    [float("nan")],
    {"abc": 1},
]
"""One value of every kind of mistake; what a setting's annotation takes of them is none there."""


class Setting(typing.NamedTuple):
    """A key that a user can type, and the type of its value."""

    key: str
    annotation: object
    words: tuple[str, ...]
    """With which it is there."""

    def error(self, value: object) -> str | None:
        """Return what is wrong with a value by the annotation alone."""
        try:
            pydantic.create_model("One", __config__=FORBID, value=(self.annotation, ...))(value=value)
        except pydantic.ValidationError as error:
            return error.errors()[0]["msg"]
        return None

    def takes(self, value: object) -> bool:
        return self.error(value) is None

    def mistakes(self) -> list[object]:
        """Return one value of every kind of mistake that there is for this type."""
        return list({self.error(value): value for value in reversed(NOISE) if not self.takes(value)}.values())

    def __str__(self) -> str:
        return " ".join([self.key, *self.words])


@functools.cache
def composed(*words: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        found = compose("config", list(words), return_hydra_config=True)
    with open_dict(found):
        found.hydra.overrides.task = []
    return found


def settings(node: dict, where: str, words: tuple[str, ...]) -> typing.Iterator[Setting]:
    """Yield what can be set in a node; a setting whose type nobody knows is a KeyError."""
    model = MODELS.get(where)
    known = {
        name: Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        for name, field in (model.model_fields.items() if model else ())
    }
    if target := node.get("_target_"):
        hints = (
            OPTIMIZER
            if target.startswith("torch.")
            else typing.get_type_hints(get_object(target), None, None, True)
        )
        known = hints | known
    for name, value in node.items():
        key = f"{where}.{name}".removeprefix(".")
        if name in ("hydra", "tuned", dataset_names.SETTING) or name.startswith("_"):
            continue  # a dataset's name in tables is no setting of a run; test_dataset_names.py has its mistakes
        if isinstance(value, dict):
            yield from settings(value, key, words)
        elif name not in ("experiment", "tuned"):
            yield Setting(key, known[name], words)


def table(group: str) -> list[Setting]:
    """Return every key of every option of a group, each type of a key once; without a group what lies outside."""
    if not group:
        everything = settings(OmegaConf.to_container(composed()), "", ())
        return [one for one in everything if one.key.partition(".")[0] not in GROUPS]
    found, where = {}, group.replace("/", ".")
    for name in OPTIONS[group]:
        chosen = f"{group}={name}"
        words = (chosen, *(suited(name) if group == "mu_algo" else ()))
        missing = sorted(OmegaConf.missing_keys(OmegaConf.select(composed(*words), where)))
        words += tuple(f"{key}={GIVEN[key]}" for key in missing)
        node = OmegaConf.to_container(OmegaConf.select(composed(*words), where))
        for setting in settings(node, where, words):
            found.setdefault((setting.key, repr(setting.annotation)), setting)
    return list(found.values())


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch, tmp_path):
    """Fail where a model is trained or a folder is written."""

    def trained(*_):
        raise AssertionError("a training began")

    monkeypatch.setattr(Fit, "_run", trained)
    monkeypatch.chdir(tmp_path)
    for name in ("STORE", "DATA", "RUNS"):
        monkeypatch.setenv(f"SOFTTARGETS_{name}", str(tmp_path / name.lower()))
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def refused(capsys):
    """`refused(action)`: the sentence with which it ends."""

    def said(action: typing.Callable[[], object]) -> str:
        with pytest.raises(SystemExit) as end, refusing():
            action()
        out, err = capsys.readouterr()
        assert (end.value.code, out, err.count("\n")) == (2, "", 1), err
        program, _, sentence = err.partition(": ")
        assert program in ("run.py", "softtargets")  # as it was called
        return sentence

    return said


def with_value(setting: Setting, value: object, key: str = "") -> None:
    """Check the config of a setting in which it has this value, or something else has."""
    config = copy.deepcopy(composed(*setting.words))
    with open_dict(config):
        OmegaConf.update(config, key or setting.key, value, merge=False)
        composed_run.check_runnable(config)


def names(sentence: str, key: str, value: object) -> bool:
    """Tell whether a sentence names a setting, or an item of it, its value, and more."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    items = [value, *parts]
    shown = any(form(item) in sentence for item in items for form in (repr, str))
    return sentence.startswith((f"{key}=", f"{key}.")) and shown and ": " in sentence


def kinds(annotation: object) -> set[object]:
    """Return the plain types that an annotation is made of."""
    parts = typing.get_args(annotation)
    return (
        {annotation}
        if not parts
        else set().union(*map(kinds, parts))
        if typing.get_origin(annotation) is not typing.Literal
        else {typing.Literal}
    )


def check_bounds(setting: Setting) -> None:
    """A number without bounds is one that nobody has thought about."""
    scalars = kinds(setting.annotation) & {int, float}
    wrap = (lambda value: [value]) if "list[" in repr(setting.annotation) else (lambda value: value)
    for value in [10**30, -(10**30)] * (int in scalars) + [1e300, -1e300, float("nan")] * (float in scalars):
        assert not setting.takes(wrap(value)), (setting, value)


def words_of(annotation: object) -> list[str]:
    """Return the words that an annotation allows by name."""
    parts = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return [part for part in parts if isinstance(part, str)]
    return [word for part in parts for word in words_of(part)]


@pytest.mark.long
@pytest.mark.parametrize("group", ["", *OPTIONS])
def test_what_is_misspelt_is_answered_with_what_was_meant(group, refused):
    for setting in table(group):
        misspelt, name = f"{setting.key}x", setting.key.rpartition(".")[2]
        sentence = refused(lambda setting=setting, key=misspelt: with_value(setting, 1, key))
        assert sentence.startswith(f"{misspelt}=1: no such setting; choose one of "), sentence
        assert sentence.endswith(f"; did you mean {name}?\n"), sentence
        for word in words_of(setting.annotation):
            value = [f"{word}x"] if "list[" in repr(setting.annotation) else f"{word}x"
            sentence = refused(lambda setting=setting, value=value: with_value(setting, value))
            assert sentence.endswith(f"; did you mean {word}?\n"), sentence


@pytest.mark.long
@pytest.mark.parametrize("group", OPTIONS)
def test_a_misspelt_option_or_key_of_a_group_is_too(group, refused):
    option = OPTIONS[group][0]
    assert refused(lambda: typed([f"{group}={option}x"])).endswith(f"; did you mean {option}?\n")
    setting = next(iter(table(group)), None)
    if setting:
        sentence = refused(lambda: typed([*setting.words, f"{setting.key}x=1"]))
        assert sentence.startswith(f"{setting.key}x=1: no such setting; {setting.key.rpartition('.')[0]} has "), (
            sentence
        )
        assert sentence.endswith(f"; did you mean {setting.key.rpartition('.')[2]}?\n"), sentence


@pytest.mark.long
@pytest.mark.parametrize("group", ["", *OPTIONS])
def test_every_mistake_in_every_setting_is_named_with_its_value(group, refused):
    for setting in table(group):
        check_bounds(setting)
        assert setting.mistakes()
        for value in setting.mistakes():
            sentence = refused(lambda setting=setting, value=value: with_value(setting, value))
            assert names(sentence, setting.key, value), (value, sentence)


@pytest.mark.parametrize(
    ("words", "named", "allowed"),
    [
        (("mu_algo=unsir",), "forget_set", "forget_set=class"),
        (("forget_set=class", "forget_set.classes=[0,10]"), "forget_set.classes=[0, 10]", "0 to 9"),
        (
            ("forget_set=class", "forget_set.classes=[0,1,2,3,4,5,6,7,8,9]"),
            "forget_set.classes=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]",
            "fewer than all",
        ),
        (("forget_set.fraction=1e-6",), "forget_set.fraction=1e-06", "0 of 3,800"),
        (("training.batch_size=4000",), "training.batch_size=4000", "3800"),
        (("unlearn.batch_size=4000",), "unlearn.batch_size=4000", "3800"),
        (("dataset.train_size=3999999",), "dataset.train_size=3999999", "1 to 4000"),
        (("dataset.mean=[0.1,0.2]",), "dataset.mean=[0.1, 0.2]", "one number"),
        (("device=cuda",), "device=cuda", "cpu"),
        (("targets.forget=3",), "targets.forget=3", "group"),
        (("training.schedule=abc",), "training.schedule='abc'", "_target_"),
        (("+training.optimizer.betas=[2,2]",), "training.optimizer", "beta"),
        (("mu_algo=relabel", "+unlearn.schedule.eta_min=abc"), "unlearn.schedule", "str"),
        (("+choices=3",), "choices", "groups"),
        (("+unlearn.epoch=3",), "unlearn.epoch=3", "did you mean epochs?"),
        (("+sed=3",), "sed=3", "did you mean seed?"),
        (("+dataset.train_sise=20",), "dataset.train_sise=20", "did you mean train_size?"),
        (("+targets.forget.modifier=[]",), "targets.forget.modifier=[]", "did you mean modifiers?"),
        (("checkpoint=/dev/null",), "checkpoint=/dev/null", "Give the path of a file"),
        (("checkpoint=/etc/passwd",), "checkpoint=/etc/passwd", "Save model.state_dict() alone"),
        (("store.dir=/dev/null/store",), "store.dir=/dev/null/store", "folder of yours"),
        (("store.dir='~nobodyx'",), "store.dir='~nobodyx'", "without ~"),
        (("checkpoint='~nobodyx/a'",), "checkpoint='~nobodyx/a'", "without ~"),
        (("rerun='~nobodyx/a'",), "rerun='~nobodyx/a'", "without ~"),
        (("dataset=mnist", "data_dir='~nobodyx'"), "data_dir='~nobodyx'", "without ~"),
        (("dataset=folder", "dataset.path='~nobodyx'"), "dataset.path='~nobodyx'", "without ~"),
        (("forget_set=indices", "forget_set.path='~nobodyx'"), "forget_set.path='~nobodyx'", "without ~"),
        (("~training.precision",), "training.precision", "is required"),
        (("dataset._target_=os.getcwd",), "dataset", "softtargets.datasets"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(words, named, allowed, refused):
    sentence = refused(lambda: composed_run.check_runnable(composed(*words)))
    assert named in sentence
    assert allowed in sentence


class Convolution(torch.nn.Sequential):
    """A network without a linear layer."""

    def __init__(self):
        super().__init__(torch.nn.Conv2d(1, 10, 28), torch.nn.Flatten())


def no_images(**settings):
    """Return what is no data."""
    return settings


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (
            ("mu_algo=rmu", "~architecture.hidden", "architecture._target_=test_bad_input.Convolution"),
            "mu_algo=rmu with architecture._target_=test_bad_input.Convolution: needs a network with ",
        ),
        (("mu_algo=rmu", "~architecture.hidden", "architecture._target_=torch.nn.Flatten"), "(2, 10)"),
        (
            ("architecture=torchvision", "architecture.name=resnet81"),
            "name='resnet81': no classification network of torchvision has this name; did you mean resnet18?",
        ),
        (("dataset._target_=test_bad_input.no_images",), "Images"),
    ],
    ids=str,
)
def test_own_parts_that_do_not_fit_are_refused(words, allowed, refused, monkeypatch):
    monkeypatch.setenv("SOFTTARGETS_PLUGINS", "test_bad_input,torch.nn")
    sentence = refused(lambda: composed_run.check_runnable(composed(*words)))
    assert words[-1].partition(".")[0] in sentence
    assert allowed in sentence


INDICES = {
    "empty.txt": b"",
    "words.txt": b"one\ntwo\n",
    "negative.txt": b"1\n-3\n",
    "twice.txt": b"5\n5\n",
    "beyond.txt": b"4000\n",
    "fraction.txt": b"1.5\n",
    "nan.csv": b"nan\n",
    "binary.txt": bytes(range(128, 256)),
    "huge.txt": b"1" * 40,
    "broken.npy": b"\x93NUMPY",
    "name.json": b"[1]",
}


@pytest.mark.parametrize("name", [*INDICES, "missing.txt", "folder.txt", "fractions.npy"])
def test_malformed_index_files_are_refused(name, refused, tmp_path_factory):
    file = tmp_path_factory.mktemp("given") / name
    if name in INDICES:
        file.write_bytes(INDICES[name])
    elif name == "folder.txt":
        file.mkdir()
    elif name == "fractions.npy":
        numpy.save(file, numpy.array([0.5, 1.5]))
    sentence = refused(
        lambda: composed_run.check_runnable(composed("forget_set=indices", f"forget_set.path={file}"))
    )
    assert sentence.startswith("forget_set")


def typed(words: list[str]) -> None:
    """Type a command line, in which no run does anything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["run.py", *words])
        patch.setattr(composed_run, "run_in_folder", lambda config, hydra: 0.0)
        patch.setattr(sweep, "_launch", lambda *_: None)
        patch.setattr(sweep, "counts_of_runs", lambda cells, missing: True)
        softtargets.cli.main.command(run.main)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dataset", "mnist"], "no dashes"),
        (["seed=1", "-m", "targets=hard,soft"], "-m must be the first argument: run.py -m targets=hard,soft"),
        (["seed"], "setting=value"),
        (["seed=["], "seed=["),
        (["a\nb"], r"a\nb: cannot be read"),
        (["dataset=null"], "mnist_5k"),
        (["~mu_algo"], "graddiff"),
        (["dataset=mnits"], "did you mean mnist"),
        (["unlern.epochs=3"], "did you mean unlearn?"),
        (["unlearn.epoch=3"], "did you mean epochs?"),
        (["runs_dir=/dev/null"], "runs_dir=/dev/null: cannot be written to"),
        (["hydra.run.dir=/dev/null/x"], "hydra.run.dir=/dev/null/x: cannot be written to"),
        (["-m", "hydra.sweep.dir=/dev/null/x"], "hydra.sweep.dir=/dev/null/x: cannot be written to"),
        # where root may write by its rights, and nothing can be made
        (["hydra.run.dir=/proc/x"], "hydra.run.dir=/proc/x: cannot be written to"),
        (["-m", "hydra.sweep.dir=/proc/x"], "hydra.sweep.dir=/proc/x: cannot be written to"),
        (["store.dir=/proc/x"], "store.dir=/proc/x: cannot be written to"),
        (["-m", "seed=range(0)"], "seed: the sweep is empty"),
        (["-m", "foo=1,2"], "foo=1,2: no such setting"),
        (["-m", "hydra.sweep.subdir=mine"], "hydra.sweep.subdir=mine: has no effect"),
        (["-m", "hydra.sweeper.cells=['seed=1',\"seed='1\"]"], 'cells: line 2, "seed=\'1", cannot be read'),
        (["-m", "hydra.sweeper.cells=['seed=1 [2']"], "cells: line 1, 'seed=1 [2', cannot be read"),
        (["-m", "hydra.sweeper.cells=['seed=1','--seed 3']"], "cells: line 2, '--seed 3', cannot be read"),
        (["-m", "hydra.sweeper.cells=3"], "hydra.sweeper.cells=3"),
        (["-m", "hydra.sweeper.cells_per_job=0"], "hydra.sweeper.cells_per_job=0"),
        (["-m", "hydra.sweeper.params=3"], "hydra.sweeper.params=3"),
        (["-m", "hydra/launcher=local", "hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs=0"),
        (["-m", "hydra/launcher=slurm", "hydra.launcher.timeout_min=0"], "hydra.launcher.timeout_min=0"),
        (["-m", "hydra/launcher=slurm", "hydra.launcher.mem_gb=abc"], "hydra.launcher.mem_gb=abc"),
    ],
    ids=str,
)
@pytest.mark.long
def test_what_cannot_be_typed_is_refused(words, said, refused):
    assert said in refused(lambda: typed(words))


KEYS = ["seed", "dataset", "mu_algo", "targets", "targets/forget", "unlearn.epochs", "dataset.mean", "experiment"]
KEYS += ["training.optimizer", "unlearn.optimizer.lr", "forget_set.fraction", "store", "hydra/launcher", "tuned"]
VALUES = [
    "mnist_5k",
    "hard",
    "graddiff",
    "3",
    "-1",
    "0.5",
    "null",
    "true",
    "nan",
    "[1,a]",
    "{a:1}",
    "[",
    "}",
    "'a",
]
VALUES += ["${seed}", "${", "range(3)", "range(", "choice(1,2)", "1,2", "glob(*)", "sort(2,1)", "???", "a b", ""]
OVERRIDE = st.tuples(*map(st.sampled_from, (["", "+", "++", "~"], KEYS, ["=", "", "@a="], VALUES))).map("".join)
WORD = OVERRIDE | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12).filter(
    lambda word: not word.startswith("-")
)


@pytest.mark.long
@hypothesis.settings(
    max_examples=int(os.environ.get("SOFTTARGETS_FUZZ", "60")),
    derandomize="SOFTTARGETS_FUZZ" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(words=st.lists(WORD, min_size=1, max_size=3), several=st.booleans())
def test_no_words_end_in_a_traceback(words, several, capsys, tmp_path):
    code = 0
    try:
        typed(["-m", *words] if several else words)
    except SystemExit as end:
        code = end.code
    err = capsys.readouterr().err
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    assert code in (0, 2, None), err
    assert "Traceback" not in err
    assert code != 2 or (err.startswith("run.py: ") and err.count("\n") == 1), err


@pytest.fixture
def pets(tmp_path_factory):
    """A folder of pictures in colour, 10x10 pixels."""
    base, draw = tmp_path_factory.mktemp("pets"), numpy.random.default_rng(0)
    for place in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (base / place).mkdir(parents=True)
        for number in range(20):
            pixels = draw.integers(256, size=(10, 10, 3), dtype=numpy.uint8)
            PIL.Image.fromarray(pixels).save(base / place / f"{number}.jpg")
    return base


class Grey(torch.nn.Sequential):
    """A network for pictures of one channel."""

    def __init__(self, num_classes: int):
        super().__init__(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.LazyLinear(num_classes))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("dataset.channels=2", "dataset.channels=2: must be 1 or 3"),
        (
            "dataset.mean=[0.5,0.5]",
            "dataset.mean=[0.5, 0.5]: must have one number, or one for each of the 3 channels",
        ),
        ("dataset.channels=1 dataset.mean=[0.5,0.5]", "dataset.mean=[0.5, 0.5]: must have one number\n"),
        ("architecture._target_=test_bad_input.Grey", ".Grey: does not fit inputs of shape (3, 10, 10): "),
    ],
)
def test_a_wrong_number_of_channels_is_named(word, said, pets, refused, monkeypatch):
    monkeypatch.setenv("SOFTTARGETS_PLUGINS", "test_bad_input")
    words = (
        "dataset=folder",
        f"dataset.path={pets}",
        "training.batch_size=8",
        "unlearn.batch_size=8",
        *word.split(),
    )
    store = f"store.dir={pets.parent / 'store'}"
    assert said in refused(lambda: composed_run.check_runnable(composed(*words, store)))


@pytest.mark.parametrize(
    ("gpus", "device", "said"),
    [
        (0, "cuda", "no GPU that torch can use. Choose one of auto, cpu"),
        (1, "cuda:1", "no such GPU. Choose one of auto, cpu, cuda, cuda:0"),
    ],
)
def test_a_gpu_that_is_not_there_is_called_so(gpus, device, said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(BadInput, match=rf"^device={device}: this machine has {said}$"):
        checks.require_device(device)


@pytest.mark.parametrize("damage", [lambda jpeg: jpeg[:300], lambda jpeg: jpeg[:20] + bytes(300) + jpeg[320:]])
def test_a_corrupt_jpeg_is_named(damage, pets, refused):
    file = pets / "train/dog/7.jpg"
    file.write_bytes(damage(file.read_bytes()))
    words = ("dataset=folder", f"dataset.path={pets}", f"store.dir={pets.parent / 'store'}")
    sentence = refused(lambda: composed_run.check_runnable(composed(*words)))
    assert sentence.startswith(f"dataset: {file} cannot be read as an image: ")


def test_a_truncated_archive_is_named(tmp_path_factory, refused, monkeypatch):
    folder = tmp_path_factory.mktemp("data")
    (folder / "cifar-10-python.tar.gz").write_bytes(b"\x1f\x8b of which nothing follows")
    monkeypatch.setattr(
        published, "CIFAR10", dataclasses.replace(published.CIFAR10, url=f"{folder.as_uri()}/none/")
    )
    sentence = refused(lambda: composed_run.check_runnable(composed("dataset=cifar10", f"data_dir={folder}")))
    assert f" {folder}/cifar-10-python.tar.gz is truncated or altered (27 bytes with MD5 " in sentence
