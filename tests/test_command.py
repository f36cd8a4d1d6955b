"""The command line as a user meets it: real processes, exit codes, one sentence on stderr."""

import errno
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import PIL.Image
import pytest
from conftest import CONF, HANGS, ROOT, SMALL, Ended

from softtargets.cli import shadows
from softtargets.config import paths, recipes
from softtargets.config.resolve import config_hash
from softtargets.report.attacks import can_show
from softtargets.system import signals
from softtargets.tuning import search

BROKEN = ("mu_algo._target_=own_parts.broken", "~mu_algo.alpha", "plugins=[own_parts]")


def command(*arguments: str, cwd: Path) -> Ended:
    """Run the program in a process of its own."""
    whole = [sys.executable, ROOT / "run.py", *arguments]
    found = subprocess.run(whole, cwd=cwd, capture_output=True, text=True, timeout=HANGS)
    return Ended(found.returncode, found.stdout, found.stderr)


def test_an_end_by_signal_that_hydra_calls_an_error_is_no_bad_input(here, monkeypatch):
    monkeypatch.setattr(signals, "code", 143)
    assert here("nothing=1") == Ended(143, "", "")


def test_a_run_ends_with_a_table_and_the_path_of_the_result(elsewhere):
    found = command(*SMALL, cwd=elsewhere)
    assert found.returncode == 0, found.stderr
    path = Path(re.search(r"^result: (.+)$", found.stdout, re.MULTILINE)[1])
    assert json.loads(path.read_text())["schema"] == 2
    assert "forget accuracy" in found.stdout
    assert not any(ord(letter) == 27 for letter in found.stdout), "plain lines where stdout is no terminal"
    assert found.stderr == ""


BAD = {
    "unlearn.lr=1": "did you mean unlearn.optimizer.lr?",
    "training.lr=1": "did you mean training.optimizer.lr?",
    "lr=1": "did you mean training.optimizer.lr or unlearn.optimizer.lr?",
    "epochs=3": "did you mean training.epochs or unlearn.epochs?",
    "architecture.name=resnet18": "; it is a setting of architecture=torchvision",
    "architecture.width=16": "; it is a setting of architecture=resnet18 and architecture=resnet9",
    "dataset.path=pets": "; it is a setting of dataset=cifar10_jpeg and dataset=folder",
    "dataset.root=data": "; it is a setting of dataset=cifar10, dataset=cifar100, "
    "dataset=fashion_mnist and others",
    "targets.forget.smoothing=0.1": "; it is a setting of targets/forget=label_smoothing",
    "~forget_set.classes": "; it is a setting of forget_set=class and forget_set=class_fraction",
    "algo=npo": "did you mean mu_algo?",
    "model=cnn": "did you mean architecture?",
    "forget=random": "did you mean forget_set?",
    "device=gpu": "did you mean cuda?",
    "device=cuda:one": "a GPU by its number, as in cuda:1",
    "device=mps": "device='mps': the GPU of a Mac has no float64, in which measures are computed. Use device=cpu",
    "device=cuda:99": "Choose one of auto, cpu",
    "evidence=svc": "evidence=[svc]",
    "architecture.hidden=[3]": "integer; several values make a sweep: -m",
    "training.augmentation=[flip]": "must be a group of settings",
    "seed=0..4": "-m 'seed=range(0,5)'",
    "seed=range(5)": "-m as the first",
    "targets=HARD": "did you mean hard?",
    "mu_algo=foo": "gradasc, graddiff",
    "training.epoch=3": "epochs",
    "training.epochs=-1": "1",
    "seed=abc": "integer",
    "seed=1,2": "-m",
    "unlearn.optimizer.lr=-1": "greater than or equal to 0",
    "unlearn.optimizer.lr=fast": "number",
    "+unlearn.optimizer.speed=1": "lr",
    "unlearn.optimizer._target_=torch.optim.Sgd": "imported",
    "mu_algo._target_=os.system": "plugins=[mine]",
    "plugins=mine": "list",
    "plugins=[no_such_module]": "PYTHONPATH",
    "unlearn.batch_size=2.5": "integer",
    "training.schedule.peak=0": "greater than 0",
    "mu_algo.alpha=-2": "0",
    "+mu_algo.beta=2": "alpha",
    "dataset.train_size=99999": "4000",
    "dataset.validation_fraction=1.5": "less than 1",
    "dataset.mean=[.nan]": "number",
    "forget_set.seed=-1": "0",
    "forget_set.fraction=0": "greater than 0",
    "unlearn.stop=never": "matched",
    "device=tpu": "cpu",
    "precision=int8": "bf16",
    "threads=0": "1",
    "checkpoint=/no/such/file": "no such file",
    "rerun=/no/such/run": "config.yaml",
    "architecture._target_=torch.nn.NoSuch": "softtargets.architectures",
    "architecture.hidden=0": "1",
    "diagnosis.hard_like=2": "1",
    "stage=unlearn": "train",
    "tuned=fashion_mnist/mlp": "none",
}


@pytest.mark.parametrize("override", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(override, here, elsewhere):
    found = here(override)
    assert found.returncode == 2, found.stderr
    assert len(found.stderr.splitlines()) == 1, found.stderr
    setting = override.lstrip("+").partition("=")[0]
    assert setting in found.stderr or setting.rpartition(".")[0] in found.stderr
    assert BAD[override] in found.stderr
    assert found.stdout == ""
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "allowed"),
    [
        (("forget_set=class", "forget_set.classes=[12]"), "0 to 9"),
        (("forget_set=class", "forget_set.classes=3"), "forget_set.classes=[3]"),
        (("architecture=cnn", "architecture.channels=32"), "architecture.channels=[32]"),
        (("forget_set=indices", "forget_set.path=/no/such.txt"), "/no/such.txt"),
        (("forget_set=indices",), "forget_set.path"),
        (("forget_set=marked",), "folder"),
        (("dataset=folder",), "dataset.path"),
        (("targets/forget=self", "targets.forget.temperature=0"), "greater than or equal to 0.001"),
        (("unlearn.stop=matched", "unlearn.evaluate_every=null"), "at least 1"),
        (("unlearn.evaluate_samples=5",), "100"),
        (("targets.forget.modifiers=[soften]",), "harden"),
        (("targets=ugradsl", "targets.forget.modifiers=[sample]"), "draws from a distribution"),
        (("targets=out_of_fold", "targets.forget.folds=1"), "2"),
        (("targets=label_smoothing", "targets.forget.smoothing=1.5"), "1"),
        (("targets=nothing",), "out_of_fold"),
        (("rerun=runs/1", "seed=3"), "seed=3"),
        (("architecture._target_=torch.nn.Linear", "~architecture.hidden"), "architecture"),
    ],
)
def test_bad_combinations_too(overrides, allowed, here, elsewhere):
    found = here(*overrides)
    assert (found.returncode, len(found.stderr.splitlines())) == (2, 1), found.stderr
    assert allowed in found.stderr
    assert list(elsewhere.iterdir()) == []


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A folder of images of two named classes."""
    base = tmp_path_factory.mktemp("trees")
    draw = numpy.random.default_rng(0)
    for part, count in (("train", 40), ("test", 10)):
        for name in ("oak", "pine"):
            (base / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 256, (8, 8), dtype=numpy.uint8)
                PIL.Image.fromarray(pixels).save(base / part / name / f"{number}.png")
    return base


@pytest.mark.parametrize("kind", ["class", "class_fraction"])
@pytest.mark.parametrize("typed", ["[pine]", "pine", "[1,pine]"])
def test_the_name_of_a_class_is_answered_with_its_number(kind, typed, trees, here):
    words = ("dataset=folder", f"dataset.path={trees}", "dataset.size=8", f"forget_set={kind}")
    found = here(*words, f"forget_set.classes={typed}")
    assert found.returncode == 2
    assert found.stderr.startswith("run.py: forget_set.classes=")
    assert found.stderr.endswith("as in forget_set.classes=[1]; the classes are 0 = oak, 1 = pine\n")


def test_a_run_says_which_named_class_is_forgotten(trees, here):
    words = ("dataset=folder", f"dataset.path={trees}", "dataset.size=8", "forget_set=class_fraction")
    found = here(*words, "forget_set.classes=[1]", "stage=data", "training.batch_size=8", "unlearn.batch_size=8")
    assert (found.returncode, found.stderr) == (0, "")
    assert "classes to forget: 1 = pine\n" in found.stdout


def test_a_mask_counts_all_training_images_of_the_dataset(elsewhere, here):
    words = ("forget_set=indices", f"forget_set.path={elsewhere / 'mask.npy'}", *SMALL, "stage=data")
    for length, code in ((4000, 0), (500, 2), (3800, 2)):
        numpy.save(elsewhere / "mask.npy", numpy.arange(length) < 30)
        found = here(*words)
        assert found.returncode == code, found.stderr
        assert code == 0 or "must have the shape (4000,)" in found.stderr


LEFT_OVER = {
    ("mu_algo._target_=own_parts.broken",): ("mu_algo=relabel", "'~mu_algo.alpha'"),
    ("dataset=folder", "dataset.path=/no", "dataset._target_=own_parts.few_images"): (
        "dataset=folder",
        "'~dataset.path' '~dataset.channels' '~dataset.size'",
    ),
    ("forget_set._target_=own_parts.first_ones",): ("forget_set=random", "'~forget_set.fraction'"),
    ("targets=soft", "targets.forget._target_=softtargets.targets.hard"): (
        "targets/forget=self",
        "'~targets.forget.temperature'",
    ),
    ("training.optimizer._target_=torch.optim.Adafactor",): ("training=mlp", "'~training.optimizer.fused'"),
    ("unlearn.optimizer._target_=torch.optim.Adagrad",): ("unlearn=relabel", "'~unlearn.optimizer.momentum'"),
    ("training.schedule._target_=torch.optim.lr_scheduler.CosineAnnealingLR",): (
        "training=mlp",
        "'~training.schedule.peak' '~training.schedule.warmup'",
    ),
}


@pytest.mark.parametrize("words", LEFT_OVER, ids=str)
def test_settings_that_a_preset_leaves_to_another_part_are_named_with_what_to_type(words, here):
    preset, remedy = LEFT_OVER[words]
    found = here(*SMALL[:1], *words, "plugins=[own_parts]", "stage=data")
    assert found.returncode == 2
    given = [word.partition("=")[0] for word in words]
    left = [word for word in shlex.split(remedy) if word.lstrip("~") not in given]
    assert f"; {preset} sets " in found.stderr
    assert found.stderr.endswith(f" by {quoted(left)}\n")


def quoted(words: list[str]) -> str:
    return " ".join(f"'{word}'" for word in words)


def test_the_words_of_that_sentence_work(here):
    words = ("forget_set._target_=own_parts.first_ones", "~forget_set.fraction", "plugins=[own_parts]")
    assert here(*SMALL, *words, "stage=data").returncode == 0


def test_a_network_of_the_users_own_needs_no_word_about_the_presets_settings(composed):
    words = (*SMALL[:1], *SMALL[2:], "architecture._target_=own_parts.TinyNet", "plugins=[own_parts]")
    config = composed(*words)
    assert config["architecture"] == {"_target_": "own_parts.TinyNet", "_partial_": True}
    assert config_hash(config) == config_hash(composed(*words, "~architecture.hidden"))
    kept = composed(
        *words[:-2], "architecture._target_=softtargets.architectures.cnn", "+architecture.channels=[8]"
    )
    assert kept["architecture"]["hidden"] == 800  # which this one takes


@pytest.mark.parametrize(
    ("words", "recipe", "training"),
    [
        ((), "", "adamw"),
        ((), "defaults: [cnn]", "own"),
        (("training=mlp",), "", "mlp"),
    ],
)
def test_a_network_in_the_users_own_configs_has_a_recipe(words, recipe, training, elsewhere, here):
    own = elsewhere / "conf"
    for group in ("architecture", "training"):
        (own / group).mkdir(parents=True)
    (own / "architecture/own.yaml").write_text("_target_: own_parts.TinyNet\n_partial_: true\n")
    if recipe:
        (own / "training/own.yaml").write_text(recipe)
    path = f"hydra.searchpath=[file://{own}]"
    found = here(*SMALL[:1], path, "plugins=[own_parts]", "architecture=own", *words, "stage=data")
    assert (found.returncode, found.stderr) == (0, "")
    assert f" training={training} " in found.stdout
    cells = recipes.each_with_recipe(
        [["seed=1", "architecture=own", *words], ["architecture=mlp"]], [f"file://{own}"]
    )
    added = ["training=adamw"] if training == "adamw" else []
    assert cells == [["seed=1", "architecture=own", *words, *added], ["architecture=mlp"]]
    assert search._settings([path, "architecture=own", *words, "trials=3"])[1][2:] == [*words, *added]


TYPED = "architecture._target_=own_parts.TinyNet"


@pytest.mark.parametrize(
    ("words", "training"),
    [
        ((TYPED,), "adamw"),
        ((TYPED, "training=cnn"), "cnn"),
        (("architecture=cnn", TYPED), "adamw"),
        (("architecture=cnn", "architecture._target_=softtargets.architectures.cnn"), "cnn"),
        (("architecture._target_=softtargets.architectures.mlp",), "mlp"),
    ],
)
def test_a_typed_network_has_no_recipe_of_another(words, training, here):
    found = here(*SMALL[:1], "plugins=[own_parts]", *words, "stage=data")
    assert (found.returncode, found.stderr) == (0, "")
    assert f" training={training} " in found.stdout
    added = ["training=adamw"] if training == "adamw" else []
    assert recipes.each_with_recipe([[*words]], []) == [[*words, *added]]
    assert recipes.with_recipe(words) == [*words, *added]


def test_each_of_several_typed_networks_has_its_recipe(elsewhere):
    words = ["-m", "architecture._target_=mine.Net,softtargets.architectures.mlp"]
    assert recipes.with_recipe(words) == words
    cells = [["++architecture._target_=mine.Net"], ["architecture._target_=softtargets.architectures.mlp"]]
    assert recipes.each_with_recipe(cells, []) == [[*cells[0], "training=adamw"], cells[1]]


@pytest.mark.parametrize("recipe", [False, True])
def test_configs_in_a_package_are_as_those_in_a_folder(recipe, elsewhere, here, monkeypatch):
    name = f"packed_{recipe}".lower()  # Python keeps what it has imported
    own = elsewhere / name
    (own / "conf/architecture").mkdir(parents=True)
    (own / "conf/architecture/own.yaml").write_text("_target_: own_parts.TinyNet\n_partial_: true\n")
    (own / "__init__.py").write_text("raise ImportError('run by a look for a folder')\n")
    words = ("architecture=own", f"hydra.searchpath=[pkg://{name}.conf]")
    if recipe:
        (own / "conf/training").mkdir()
        (own / "conf/training/own.yaml").write_text("defaults: [cnn]\n")
    monkeypatch.syspath_prepend(elsewhere)
    assert recipes.with_recipe(words) == [*words, *([] if recipe else ["training=adamw"])]
    for package in (own, own / "conf"):  # Hydra imports both
        (package / "__init__.py").write_text("")
    found = here(*SMALL[:1], *words, "plugins=[own_parts]", "stage=data")
    assert (found.returncode, found.stderr) == (0, "")
    assert f" training={'own' if recipe else 'adamw'} " in found.stdout
    assert paths.config_folders(["pkg://nowhere_at_all.conf", f"{own}", "tuned:///tables"]) == (own,)


@pytest.mark.parametrize(
    ("experiment", "words", "training"),
    [
        ("defaults: [override /architecture: own]", (), "adamw"),
        ("defaults: [base, _self_]", (), "adamw"),
        ("defaults: [/experiment/base, override /training: mlp]", (), "mlp"),
        ("defaults: [override /architecture: own]", ("training=cnn",), "cnn"),
        ("defaults: [override /architecture: own]", ("architecture=mlp",), "mlp"),
        ("training: {batch_size: 16}", ("architecture=own",), "adamw"),
        ("architecture: {_target_: own_parts.TinyNet}", (), "adamw"),
    ],
)
def test_a_network_that_the_users_experiment_chooses_has_a_recipe(experiment, words, training, elsewhere, here):
    own = elsewhere / "conf"
    for group in ("architecture", "experiment"):
        (own / group).mkdir(parents=True)
    (own / "architecture/own.yaml").write_text("_target_: own_parts.TinyNet\n_partial_: true\n")
    for name, content in {"base": "defaults: [override /architecture: own]", "mine": experiment}.items():
        (own / f"experiment/{name}.yaml").write_text(f"# @package _global_\n{content}\n")
    path = f"hydra.searchpath=[file://{own}]"
    found = here(*SMALL[:1], path, "plugins=[own_parts]", "experiment=mine", *words, "stage=data")
    assert (found.returncode, found.stderr) == (0, "")
    assert f" training={training} " in found.stdout
    (cell,) = recipes.each_with_recipe([["experiment=mine", *words]], [f"file://{own}"])
    assert ("training=adamw" in cell) == (training == "adamw")


@pytest.mark.parametrize(
    ("group", "word"),
    [("architecture", "weights='a b.pt'"), ("forget_set", "requests=2"), ("training", "augmentation.flip=true")],
)
def test_a_setting_that_the_users_preset_does_not_list_is_added_by_a_plus(group, word, elsewhere, here):
    (elsewhere / "conf" / group).mkdir(parents=True)
    part = "own_parts.TinyNet" if group == "architecture" else "own_parts.first_ones\nseed: 0"
    (elsewhere / f"conf/{group}/own.yaml").write_text(f"_partial_: true\n_target_: {part}\n")
    words = (f"hydra.searchpath=[file://{elsewhere}/conf]", f"{group}=own", "plugins=[own_parts]")
    found = here(*SMALL[:1], *words, f"{group}.{word}", "stage=data")
    what, added = f"{group}.{word}", shlex.quote(f"+{group}.{word}")
    assert found.returncode == 2
    assert (
        found.stderr == f"run.py: {what}: the chosen preset does not list this setting. To add it, type {added}\n"
    )
    assert "no such setting" not in here(*SMALL[:1], *words, f"+{group}.{word}", "stage=data").stderr


@pytest.mark.parametrize("option", ["mu_algo/graddiff", "targets/forget/hard", "experiment/quick"])
def test_a_users_option_that_ours_would_hide_is_refused(option, elsewhere, here):
    own, ours = elsewhere / f"{option}.yaml", CONF / f"{option}.yaml"
    own.parent.mkdir(parents=True)
    words = (*SMALL, f"hydra.searchpath=[file://{elsewhere}]", "plan=true")
    words += ("experiment=quick",) if option.startswith("experiment") else ()
    own.write_bytes(ours.read_bytes())  # a copy changes nothing
    assert here(*words).returncode == 0
    own.write_text(f"{ours.read_text()}\n# mine\n")
    found = here(*words)
    reason = f"{own} would not be read, as {ours} has its name. Give it another name, and choose that"
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == f"run.py: hydra.searchpath: {reason}\n"


def test_an_experiment_whose_cells_choose_the_network_leaves_their_recipes_to_them(elsewhere):
    (elsewhere / "experiment").mkdir()
    (elsewhere / "architecture").mkdir()
    (elsewhere / "architecture/own.yaml").touch()
    (elsewhere / "experiment/mine.yaml").write_text(
        "defaults: [override /architecture: own]\nhydra: {sweeper: {params: {architecture: 'own,mlp'}}}\n"
    )
    words = ["-m", f"hydra.searchpath=[file://{elsewhere}]", "experiment=mine"]
    assert recipes.with_recipe(words) == words
    cells = [["experiment=mine", f"architecture={name}"] for name in ("own", "mlp")]
    one, other = recipes.each_with_recipe(cells, [f"file://{elsewhere}"])
    assert (one[2:], other[2:]) == (["training=adamw"], [])


def test_images_are_prepared_whatever_the_size_of_batches(here):
    words = ("dataset.train_size=100", "training.batch_size=200")
    assert here(*words, "stage=data").returncode == 0
    said = "training.batch_size=200: must be at most 95, the number of training samples"
    assert here(*words, "stage=train") == Ended(2, "", f"run.py: {said}\n")


def test_a_setting_that_was_typed_is_not_called_a_presets(here):
    found = here("architecture.hidden=5", "architecture._target_=own_parts.TinyNet", "plugins=[own_parts]")
    assert found.stderr == "run.py: architecture.hidden=5: no such setting; choose one of weights\n"


ONE_CYCLE = "{_target_: torch.optim.lr_scheduler.OneCycleLR, _partial_: true, max_lr: 0.003}"


def test_a_part_typed_as_a_dictionary_is_answered_with_words_that_work(here):
    found = here(f"training.schedule={ONE_CYCLE}")
    assert found.returncode == 2
    sentence, _, words = found.stderr.partition("; type ")
    assert "training.schedule.max_lr is no such setting; training.schedule has _target_" in sentence
    assert here(*SMALL, *shlex.split(words), "stage=data").returncode == 0


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("training.optimizer={lr: 0.1, weight_decai: 1}", "did you mean weight_decay?"),
        ("diagnosis={degenerat: 1}", "did you mean degenerate?"),
    ],
)
def test_a_misspelt_key_of_a_dictionary_is_named(word, said, here):
    found = here(word)
    assert found.returncode == 2
    assert found.stderr.endswith(f"{said}\n")


def test_a_value_that_cannot_be_read_is_shown_in_quotes(here):
    found = here("tracker.project=a=b")
    assert found.returncode == 2
    (word,) = shlex.split(found.stderr.rpartition(", as in ")[2])
    assert here(word, *SMALL, "stage=data").returncode == 0


@pytest.mark.parametrize(
    ("word", "several", "expected"),
    [
        ("rerun=/x/targets=hard-8a", False, 'rerun="/x/targets=hard-8a"'),
        ("rerun=/x/a=b,c=d", True, 'rerun="/x/a=b,c=d"'),
        ("dataset.path=a=1,b=2", True, 'dataset.path="a=1","b=2"'),  # both are there
        ("dataset.path=a=1,b=2", False, 'dataset.path="a=1,b=2"'),
        ("dataset.path=plain,c", True, "dataset.path=plain,c"),
        ("checkpoint=plain,c", False, "checkpoint=plain,c"),
        ("checkpoint=x,y", True, 'checkpoint="x,y"'),  # one file is called so
        ("store.dir=2026", False, 'store.dir="2026"'),
        ("checkpoint=null", False, "checkpoint=null"),
        ('rerun="/x/a=b"', False, 'rerun="/x/a=b"'),
        ("rerun='/x/a=b'", False, "rerun='/x/a=b'"),
        ("rerun=/x/it's", False, 'rerun="/x/it\'s"'),
        ("+dataset.root=/x/a=b", False, '+dataset.root="/x/a=b"'),
        ("hydra.sweep.dir=/x/a=b,c", True, 'hydra.sweep.dir="/x/a=b,c"'),
        ("runs_dir=${oc.env:HOME}/a=b", False, 'runs_dir="${oc.env:HOME}/a=b"'),
        ("dataset.path=choice(a=1,b=2)", True, "dataset.path=choice(a=1,b=2)"),
        ("tracker.project=a=b", False, "tracker.project=a=b"),
        ("runs_dir=", False, "runs_dir="),
    ],
)
def test_paths_are_quoted_for_hydra(word, several, expected, tmp_path, monkeypatch):
    for name in ("a=1", "b=2", "x,y"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert paths.quoted([word], several) == [expected]


@pytest.mark.long
def test_every_path_may_have_an_equals_sign_and_a_comma(here, elsewhere, trees):
    base = elsewhere / "targets=hard,seed=0-8a9e4d43adc0"
    shutil.copytree(trees, base / "images")
    (base / "some.txt").write_text("1\n2\n3\n")
    words = [
        "dataset=folder",
        f"dataset.path={base / 'images'}",
        "dataset.size=8",
        "training.batch_size=8",
        "unlearn.batch_size=8",
        "forget_set=indices",
        f"forget_set.path={base / 'some.txt'}",
        f"store.dir={base / 'store'}",
        f"runs_dir={base / 'runs'}",
        f"data_dir={base / 'data'}",
        f"hydra.run.dir={base / 'one'}",
        f"hydra.sweep.dir={base / 'several'}",
        "training.epochs=1",
        "unlearn.epochs=1",
        "save_models=true",
        "architecture.hidden=4",
    ]
    found = here(*words)
    assert (found.returncode, found.stderr) == (0, "")
    first = json.loads((base / "one" / "result.json").read_text())
    places = words[7:12]
    again = here(f"rerun={base / 'one'}", *places[:3], f"hydra.run.dir={base / 'two'}")
    assert (again.returncode, again.stderr) == (0, "")
    second = json.loads((base / "two" / "result.json").read_text())
    assert first["hashes"] == second["hashes"]
    (model,) = (base / "one").rglob("original.safetensors")
    found = here("-m", f"checkpoint={model}", *words)
    assert (found.returncode, found.stderr) == (0, "")
    assert len(list((base / "several").glob("*/result.json"))) == 1
    cells = f"hydra.sweeper.cells=['checkpoint={model}']"
    found = here("-m", cells, *words)
    assert found.returncode == 0, found.stderr
    assert len(list((base / "several").glob("*/result.json"))) == 1


def test_a_group_that_follows_an_own_option_is_asked_for(here, elsewhere, tmp_path_factory):
    conf = tmp_path_factory.mktemp("conf")
    (conf / "mu_algo").mkdir()
    (conf / "mu_algo/own.yaml").write_text("_target_: own_parts.broken\n")
    found = here(f"hydra.searchpath=[file://{conf}]", "mu_algo=own")
    assert found.returncode == 2
    assert "Type unlearn=graddiff" in found.stderr


def test_bad_input_in_a_real_process(elsewhere):
    found = command("seed=abc", cwd=elsewhere)
    assert found == Ended(2, "", "run.py: seed='abc': must be a valid integer\n")
    assert list(elsewhere.iterdir()) == []


def test_every_cell_of_a_sweep_is_checked_before_the_first_runs(here, elsewhere):
    found = here("-m", *SMALL, "seed=0,1", "mu_algo=gradasc,graddiff", "unlearn.batch_size=8,0")
    assert found.returncode == 2
    assert "unlearn.batch_size=0" in found.stderr
    assert list(elsewhere.iterdir()) == []


def test_a_launcher_without_m_is_warned_of(here):
    found = here("hydra/launcher=submitit_local", "stage=data")
    assert found.returncode == 0
    assert "hydra/launcher=submitit_local" in found.stderr
    assert "-m" in found.stderr


def test_a_run_that_raises_leaves_error_json(here, elsewhere):
    found = here(*SMALL, *BROKEN)
    assert found.returncode == 1
    (error,) = (json.loads(file.read_text()) for file in elsewhere.glob("runs/*/error.json"))
    assert (error["error"], error["message"]) == ("ZeroDivisionError", "division by zero")
    assert "own_parts.py" in error["traceback"]
    assert not list(elsewhere.glob("runs/*/result.json"))


OWN = ("~mu_algo.alpha", "plugins=[own_parts]")


def test_strict_is_refused_in_one_sentence(here, elsewhere):
    found = here(*SMALL, "mu_algo=gradasc", "targets=soft", "targets.forget.temperature=1", "strict=true")
    assert found.returncode == 2
    assert found.stderr.startswith("run.py: strict=true: the run is degenerate: ")
    assert found.stderr.count("\n") == 1
    (error,) = (json.loads(file.read_text()) for file in elsewhere.glob("runs/*/error.json"))
    assert error["message"] in found.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hungry", "out of memory; lower unlearn.batch_size, or dataset.train_size ("),
        ("gives_up", "SystemExit: I give up"),
        ("stubborn", "Stubborn: one and two"),
    ],
)
def test_what_ends_a_run_is_said_once_and_kept(name, said, here, elsewhere):
    found = here(*SMALL, *OWN, f"mu_algo._target_=own_parts.{name}")
    assert found.returncode == 1
    assert found.stderr.count(said) == 1
    assert "Error executing job" not in found.stderr
    assert (found.stderr.count("\n") == 1) == (name == "hungry"), "what only its author can mend has a traceback"
    (error,) = (json.loads(file.read_text()) for file in elsewhere.glob("runs/*/error.json"))
    assert (
        f"{error['error']}: {error['message']}".partition(": ")[(name == "hungry" and 2) or 0]
        in said + error["message"]
    )
    assert "own_parts.py" in error["traceback"]


MODELS = {"original.safetensors", "retrained.safetensors", "unlearned.safetensors"}
RESULT = {"config.yaml", "margins.npz", "result.json"}


def test_all_in_a_folder_that_is_used_again_belongs_to_the_last_run(here, elsewhere):
    folder = elsewhere / "fixed"
    fixed = (*SMALL, f"hydra.run.dir={folder}")
    lives = {
        ("save_models=true",): RESULT | MODELS,
        ("seed=1",): RESULT,
        (*OWN, "mu_algo._target_=own_parts.broken"): {"error.json"},
        ("stage=train",): {"train.json"},
        (): RESULT,
        ("stage=data",): RESULT | {"data.json"},
    }
    (folder / "mine").mkdir(parents=True)
    (folder / "unlearned.safetensors").write_text("somebody's own")
    assert here(*fixed, "stage=data").returncode == 0
    assert (folder / "unlearned.safetensors").read_text() == "somebody's own"
    for words, left in lives.items():
        here(*fixed, *words)
        assert {path.name for path in folder.iterdir()} - {".hydra", "mine"} == left, words


@pytest.mark.parametrize("swept", [False, True])
def test_a_result_stays_whatever_fails_after_it_is_written(here, elsewhere, monkeypatch, swept):
    def full(*arguments) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "run.log")

    monkeypatch.setattr("softtargets.console.Console.result", full)
    monkeypatch.setattr("softtargets.execution.run_files.write_stage", full)
    folder = elsewhere / "there"
    words = (*["-m"] * swept, *SMALL, f"hydra.{'sweep' if swept else 'run'}.dir={folder}")
    for stage, code in {"all": 0 if swept else 1, "train": 1}.items():
        found = here(*words, f"stage={stage}")
        assert found.returncode == code, found.stderr
        (result,) = folder.glob("*/result.json" if swept else "result.json")
        assert {path.name for path in result.parent.iterdir()} >= RESULT | {"error.json"}


def test_a_checkpoint_is_not_replaced_by_the_run_that_reads_it(here, elsewhere):
    fixed = (*SMALL, f"hydra.run.dir={elsewhere}/fixed")
    assert here(*fixed, "save_models=true").returncode == 0
    before = {path: path.stat().st_ino for path in elsewhere.glob("fixed/*")}
    file = elsewhere / "fixed/original.safetensors"
    found = here(*fixed, f"checkpoint={file}")
    assert (found.returncode, found.stdout) == (2, "")
    assert f"checkpoint={file}: lies in hydra.run.dir={file.parent}" in found.stderr
    assert {path: path.stat().st_ino for path in elsewhere.glob("fixed/*")} == before


@pytest.mark.parametrize("again", [False, True])
def test_a_run_deletes_nothing_that_it_reads(here, elsewhere, again):
    fixed = (*SMALL, f"hydra.run.dir={elsewhere}/fixed")
    assert here(*fixed, "save_models=true").returncode == 0
    (elsewhere / "link").symlink_to("fixed")
    file = elsewhere / "link/retrained.safetensors"
    words = {f"architecture.weights={file}": (), f"rerun={elsewhere}/link": ()}
    if again:  # what a run in another folder reads
        other = (*SMALL, f"hydra.run.dir={elsewhere}/other")
        assert here(*other, f"architecture.weights={file}").returncode == 0
        words = {f"architecture.weights={file}": (f"rerun={elsewhere}/other",)}
    before = {path: path.stat().st_ino for path in elsewhere.glob("fixed/*")}
    for word, typed in words.items():
        found = here(*(typed or (*([] if word.startswith("rerun") else SMALL), word)), fixed[-1])
        assert (found.returncode, found.stdout) == (2, "")
        assert f"{word}: lies in hydra.run.dir={elsewhere}/fixed" in found.stderr
        assert {path: path.stat().st_ino for path in elsewhere.glob("fixed/*")} == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runs_dir=~/x"], "runs_dir=~/x: "),
        (["hydra.run.dir=~/x"], "hydra.run.dir=~/x: "),
        (["-m", "hydra.sweep.dir=~/x"], "hydra.sweep.dir=~/x: "),
        (["hydra.run.dir="], "hydra.run.dir=: must be a folder"),
        (["-m", "hydra.sweep.dir="], "hydra.sweep.dir=: must be a folder"),
    ],
)
def test_a_folder_for_runs_has_a_name_that_hydra_takes(words, said, here, elsewhere):
    found = here(*words, *SMALL)
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert said in found.stderr
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("more", [(), ("unlearn.cost=0.1",)])
@pytest.mark.parametrize("group", ["experiment", "architecture", "mu_algo", "targets"])
def test_a_name_too_long_for_a_file_is_no_option(group, more, here):
    found = here(f"{group}={'x' * 300}", *more)
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert f"{group}=xxx" in found.stderr


def test_an_unknown_home_is_no_place_of_weights(here):
    found = here("architecture.weights=~nobody-here/x")
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert found.stderr.startswith(
        "run.py: architecture.weights='~nobody-here/x': names a home folder that is not"
    )


LONG = "x" * 256


@pytest.mark.parametrize(
    "words",
    [
        (f"hydra.run.dir={LONG}",),
        (f"hydra.run.dir={'x/' * 2000}",),
        (f"hydra.run.dir='{'é' * 128}'",),
        ("-m", f"hydra.sweep.dir={LONG}"),
        (f"runs_dir={LONG}",),
        (f"store.dir={LONG}",),
        (f"rerun={LONG}",),
        (f"checkpoint={LONG}",),
        *(("-m", f"{name}={LONG}") for name in ("rerun", "checkpoint", "architecture.weights")),
        (f"dataset.path={LONG}", "dataset=folder"),
        (f"data_dir={LONG}", "dataset=fashion_mnist"),
    ],
    ids=lambda words: " ".join(word[:16] for word in words),
)
def test_a_path_too_long_is_refused(words, here, elsewhere):
    found = here(*words)
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert "too long" in found.stderr
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"# @package _global_\nseed: 1\nseed: 2\n", ", line 3", "duplicate key seed"),
        (b"# @package _global_\nseed:\t1\n\tx: 1\n", ", line 2", "cannot start any token"),
        (b"seed: !!python/object:os.system 1\n", ", line 1", "os.system"),
        (b"? [1]\n: 2\n", ", line 1", "unhashable key"),
        (b"seed: \xff\n", "", "0xff"),
        (b"seed: ${\n", "", "${"),
        (b"a: &a [*a]\n", "", "recursion"),
    ],
    ids=str,
)
def test_an_option_file_that_cannot_be_read_is_named(content, line, reason, here, elsewhere):
    file = elsewhere / "conf/experiment/mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    found = here(f"hydra.searchpath=[file://{elsewhere}/conf]", "experiment=mine")
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert found.stderr.startswith(f"run.py: {file}{line}: ")
    assert reason in found.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    "many", [(), ("-m",), pytest.param(("-m", "hydra/launcher=local"), marks=pytest.mark.kill)]
)
def test_with_chdir_paths_are_those_of_the_folder_of_the_call(many, here, elsewhere, monkeypatch):
    for name in ("RUNS", "STORE", "DATA"):
        monkeypatch.setenv(f"SOFTTARGETS_{name}", name.lower())
    (elsewhere / "mine.txt").write_text("\n".join(map(str, range(20))))
    found = here(*many, *SMALL, "hydra.job.chdir=true", "forget_set=indices", "forget_set.path=mine.txt")
    assert found.returncode == 0, found.stderr + found.stdout
    (result,) = elsewhere.glob("runs/**/result.json")
    assert sorted(path.name for path in elsewhere.iterdir()) == ["mine.txt", "runs", "store"]
    assert not list(result.parent.glob("[!.]*/")), "no store in the run's folder"
    again = here(f"rerun={result.parent.relative_to(elsewhere)}", "hydra.job.chdir=true")
    assert again.returncode == 0, again.stderr
    assert (
        len({json.loads(file.read_text())["hashes"]["forget_set"] for file in elsewhere.rglob("result.json")}) == 1
    )


@pytest.fixture(autouse=True)
def own_parts_on_the_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))


# models for attacks per sample


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["models=9"], "models=9: must be greater than or equal to 10"),
        (["models=many"], "models='many'"),
        (["seed=3"], "seed=3: shadows decides seed. Leave it out"),
        (["++seed=3"], "++seed=3: shadows decides seed. Leave it out"),
        (["mu_algo=npo"], "mu_algo=npo: shadows decides mu_algo"),
        (["modles=12"], "modles=12: no such setting; did you mean models?"),
        (["references=1"], "references=1: shadows trains another retrained model of each seed: 2 or more"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_words_that_shadows_cannot_take_are_refused(words, sentence, capsys, monkeypatch):
    monkeypatch.setattr(shadows, "command", lambda main: pytest.fail("nothing may begin"))
    with pytest.raises(SystemExit, match="2"):
        shadows.main(words)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert sentence in err


@pytest.mark.parametrize(
    ("called", "to_type"), [("softtargets", "softtargets run"), ("__main__.py", "python -m softtargets run")]
)
def test_shadows_are_an_ordinary_sweep_that_trains_and_stops(capsys, monkeypatch, called, to_type):
    words = []
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setattr(shadows, "command", lambda main: words.extend(sys.argv[1:]))
    assert shadows.main(["dataset=mnist", "models=12", "references=3", "plan=true"]) == 0
    decided = ["-m", "stage=train", "mu_algo=none", "seed=range(12)"]
    assert words[:7] == [*decided, "dataset=mnist", "references=3", "plan=true"]
    said = capsys.readouterr().out
    assert can_show(12) in said
    assert f": {to_type} -m 'seed=range(12)' dataset=mnist references=3 mu_algo=npo" in said


@pytest.mark.long
def test_shadows_train_what_the_store_lacks_and_runs_take_it_from_there(elsewhere, tmp_path):
    store = f"store.dir={tmp_path / 'store'}"

    def typed(*words: str) -> str:
        found = subprocess.run(
            [sys.executable, "-m", "softtargets", *words, *SMALL[:4], store, f"runs_dir={tmp_path}"],
            cwd=elsewhere,
            capture_output=True,
            text=True,
            timeout=HANGS,
        )
        assert (found.returncode, found.stderr) == (0, "")
        return found.stdout

    assert "models: 30 to train, 0 in the store" in typed("shadows", "models=10", "plan=true")
    assert "trained 30 models, reused 0 from the store" in typed("shadows", "models=10")
    assert "trained 6 models, reused 30 from the store" in typed("shadows", "models=12")
    arm = typed("run", "-m", "seed=range(2)", "references=2", "mu_algo=graddiff", "unlearn.epochs=1")
    assert "trained 0 models, reused 6 from the store" in arm
