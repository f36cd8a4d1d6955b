"""Configs of a sweep's cells, against those that Hydra composes for each of them."""

import itertools

import pytest
from conftest import CONF, SMALL
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from softtargets.config.resolve import as_plain
from softtargets.execution.composed_run import without_hydra
from softtargets.study.composing import Composer
from softtargets.study.interpolations import Settled

SETTINGS = {
    "unlearn.optimizer.lr": ("0.1", "1e-3", "0.5"),
    "unlearn.batch_size": ("16", "64"),
    "unlearn.schedule": ("null", "null"),
    "unlearn.max_steps": ("null", "30"),
    "forget_set.fraction": ("0.1", "0.2"),
    "forget_set.seed": ("${seed}", "3"),
    "targets.forget.modifiers": ("[sample]", "[]", "[harden,sample]"),
    "mu_algo.alpha": ("0.5", "2"),
    "training.optimizer": ("{_target_:torch.optim.Adam,lr:0.001}", "{_target_:torch.optim.SGD,lr:0.1}"),
    "seed": ("0", "7"),
    "dataset.train_size": ("500", "600"),
    "device": ("cpu", "auto"),
    "training.precision": ("${precision}", "bf16"),
    "precision": ("float32", "auto"),
    "tracker.project": ("'a, b'", "'x=y'"),
}
"""Plain values, lists, interpolations, groups of settings, and quoted words."""


@pytest.fixture(scope="module")
def hydra():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda words: compose("config", list(words), return_hydra_config=True)


def composer(hydra) -> Composer:
    return Composer(hydra, OverridesParser.create().parse_overrides)


def plain(config) -> tuple[dict, list[str]]:
    """What a run has of a config, as it is and resolved, and the words that were typed."""
    task = OmegaConf.masked_copy(config, [name for name in config if name != "hydra"])
    return OmegaConf.to_container(task), list(config.hydra.overrides.task)


@pytest.mark.long
def test_a_config_is_that_which_hydra_composes(hydra):
    quick = composer(hydra)
    pairs = itertools.pairwise(SETTINGS.items())
    cells = [
        [*SMALL, f"{one}={a}", f"{other}={b}"]
        for (one, firsts), (other, seconds) in pairs
        for a, b in itertools.product(firsts, seconds)
    ]
    for words in cells:
        composed = quick(words)
        task = composed.task()  # before `whole`, which sets the values in what cells share
        expected = hydra(words)
        assert plain(composed.whole()) == plain(expected)
        assert task == as_plain(without_hydra(expected))
    assert quick.composed < len(cells)


def test_options_are_composed_and_plain_settings_are_set(hydra):
    quick = composer(hydra)
    for algorithm, rate, seed in itertools.product(("graddiff", "npo"), ("0.1", "0.2", "0.3"), range(4)):
        words = (f"mu_algo={algorithm}", f"unlearn.optimizer.lr={rate}", f"seed={seed}")
        config = quick(words).whole()
        assert (config.unlearn.optimizer.lr, config.seed) == (float(rate), seed)
        assert config.hydra.runtime.choices.mu_algo == algorithm
    assert quick.composed == 2


def test_a_setting_that_is_not_there_is_refused_as_hydra_refuses_it(hydra):
    quick = composer(hydra)
    quick(["unlearn.optimizer.lr=0.1"])
    for _ in range(2):
        with pytest.raises(HydraException, match=r"Could not override 'unlearn\.optimiser\.lr'"):
            quick(["unlearn.optimiser.lr=0.1"])


def test_of_two_values_of_a_setting_the_last_counts(hydra):
    quick = composer(hydra)
    for first, last in (("0.1", "0.2"), ("0.3", "0.4")):
        config = quick([f"unlearn.optimizer.lr={first}", f"unlearn.optimizer.lr={last}"]).whole()
        assert config.unlearn.optimizer.lr == float(last)


OPEN = {
    "seed": 0,
    "precision": "auto",
    "names": ["a", "${seed}"],
    "forget_set": {"seed": "${seed}", "root": "${oc.env:HOME}/data"},
    "training": {"precision": "${precision}", "rate": "${unlearn.rate}", "copy": "${training.rate}"},
    "unlearn": {"rate": "${oc.select:tuned.rate,0.1}", "peak": "${.rate}", "node": "${forget_set}"},
    "tuned": {"rate": 0.3},
}


@pytest.mark.parametrize("without", [("names", "unlearn.peak", "unlearn.node"), ("names",), ()])
@pytest.mark.parametrize(
    "values",
    [
        {"seed": 7},
        {"unlearn.rate": 0.5},
        {"precision": "bf16", "forget_set.seed": 3},
        {"tuned.rate": 0.7},
        {"training.rate": "${seed}"},
        {"forget_set.root": "${oc.env:HOME}/other"},
        {"names": ["b"]},
        {"forget_set": {"seed": 1}},
        {"unlearn.peak": 2.0, "unlearn.node": 1},
        {"seed": "${precision}"},
    ],
    ids=str,
)
def test_values_are_set_as_omegaconf_sets_them_or_not_at_all(without, values):
    config = OmegaConf.create(OPEN)
    for name in without:
        OmegaConf.update(config, name, None, force_add=True)
    settled = Settled(as_plain(config), OmegaConf.to_container(config))
    quick = settled.with_values(values)
    for name, value in values.items():
        OmegaConf.update(config, name, value, merge=True)
    assert quick in (None, as_plain(config))
    assert (quick is not None) == (bool(without[1:]) and quick_for(values))


def quick_for(values: dict) -> bool:
    """Whether OmegaConf need not be asked where no reference is relative or to a group."""
    return "tuned.rate" not in values and "oc.env" not in str(values) and "forget_set" not in values
