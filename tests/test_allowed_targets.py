"""What `_target_` may name, from wherever a config comes; and what an edit of an own part does."""

import importlib
import sys

import pytest
from conftest import CONF, SMALL
from omegaconf import OmegaConf

import softtargets
from softtargets.config import allowed_targets
from softtargets.config.resolve import config_hash
from softtargets.errors import BadInput
from softtargets.system import yaml_text
from softtargets.tracker import clone

CANARY = """
from pathlib import Path

touch = Path({path!r}).touch
touch()
"""
"""A module that leaves a file where it is so much as imported."""


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """The file that module `canary_module` leaves, which nobody may import; checked at the end."""
    (tmp_path / "modules").mkdir()
    file = tmp_path / "canary"
    (tmp_path / "modules/canary_module.py").write_text(CANARY.format(path=str(file)))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    yield file
    assert not file.exists(), "what a config named was imported"
    importlib.import_module("canary_module")
    assert file.exists(), "the canary itself is alive"
    del sys.modules["canary_module"]


PARTS = sorted(
    (file.relative_to(CONF).as_posix(), where, target)
    for file in CONF.glob("**/*.yaml")
    for where, target in allowed_targets._targets(yaml_text.load(file.read_text()))
)


@pytest.mark.parametrize(("file", "where", "target"), PARTS)
def test_every_part_of_ours_is_allowed_in_its_group_and_in_no_other(file, where, target):
    group = "hydra" if file in ("config.yaml", "hydra/sweeper/softtargets.yaml") else file.partition("/")[0]
    allowed_targets.require_allowed({group: {"_target_": target}}, [])
    allowed = {other for other, modules in allowed_targets.OURS.items() if modules == allowed_targets.OURS[group]}
    for other in allowed_targets.OURS.keys() - allowed:
        with pytest.raises(BadInput, match=rf"{other}._target_={target}: not allowed; use a name in .*plugins="):
            allowed_targets.require_allowed({other: {"_target_": target}}, [])


EVIL = {"_target_": "canary_module.touch"}


@pytest.mark.parametrize(
    "node",
    [
        EVIL,
        EVIL | {"_partial_": True},
        EVIL | {"_args_": ["x"]},
        {"_target_": "softtargets.architectures.mlp", "hidden": EVIL},
        {"_target_": "softtargets.architectures.mlp", "hidden": [1, [{"deep": EVIL}]]},
        {"_target_": "softtargets.architectures.mlp", "_args_": [EVIL]},
        {"_target_": ["canary_module.touch"]},
        {"_target_": None},
        {"_target_": ""},
        {"_target_": "softtargets.architectures_.x"},
        {"_target_": "softtargets.system.files.write_text"},
        {"_target_": "softtargets.architectures.nn.Linear"},
        {"_target_": "softtargets.architectures.Callable"},
        {"_target_": "softtargets.architectures.inspect.os.system"},
        {"_target_": "softtargets.architectures.mlp.__globals__.get"},
        {"_target_": "softtargets.architectures.mlp.__class__"},
        {"_target_": "softtargets.architectures.mlp.__call__"},
        {"_target_": "softtargets.architectures.__builtins__"},
        {"_target_": "softtargets.architectures.__loader__.load_module"},
        {"_target_": "softtargets.architectures.__dict__.pop"},
        {"_target_": "softtargets.architectures"},
        {"_target_": "softtargets..architectures.mlp"},
        {"_target_": "hydra.utils.get_method", "path": "canary_module.touch"},
        {"_target_": "functools.partial"},
        {"_target_": "builtins.eval"},
        {"_target_": "torch.load"},
    ],
    ids=str,
)
def test_nothing_foreign_can_be_named(node, canary):
    with pytest.raises(BadInput, match="_target_"):
        allowed_targets.require_allowed({"architecture": node}, [])
    assert not canary.exists()


def test_a_list_of_modules_lets_in_what_they_define_and_nothing_else(canary):
    allowed_targets.require_allowed({"architecture": {"_target_": "own_parts.TinyNet"}}, ["own_parts"])
    for target in ("own_parts.os.kill", "own_parts.nn.Linear", "own_parts_too.x", "canary_module.touch"):
        with pytest.raises(BadInput, match=f"{target}: not allowed"):
            allowed_targets.require_allowed({"architecture": {"_target_": target}}, ["own_parts"])


@pytest.mark.parametrize(
    ("node", "setting"),
    [
        ({"job": {"env_set": {"GIT_DIR": "x"}}, "launcher": {}}, "hydra.job.env_set.GIT_DIR"),
        ({"job": {"env_set": {}}, "launcher": {"setup": ["touch x"]}}, "hydra.launcher.setup"),
    ],
)
def test_what_runs_programs_is_typed(node, setting, monkeypatch):
    hydra = OmegaConf.create(node)
    with pytest.raises(BadInput, match=f"^{setting} is set in a config file"):
        allowed_targets.require_typed(hydra)
    monkeypatch.setattr(sys, "argv", ["run.py", "-m", f"+{setting}=y"])
    allowed_targets.require_typed(hydra)


def test_the_commands_in_our_own_launchers_need_not_be_typed():
    for file in (CONF / "hydra/launcher").glob("*.yaml"):
        allowed_targets.require_typed(OmegaConf.create({"launcher": OmegaConf.load(file)}))


def test_the_environment_can_list_modules_too(monkeypatch):
    monkeypatch.setenv("SOFTTARGETS_PLUGINS", "own_parts,")
    allowed_targets.require_allowed({"mu_algo": {"_target_": "own_parts.broken"}}, [])
    assert list(allowed_targets.sources({"mu_algo": {"_target_": "own_parts.broken"}}, [])) == ["own_parts"]


@pytest.mark.parametrize("come", ["rerun", "clone", "load"])
def test_the_config_of_a_run_from_elsewhere_lists_no_modules(come, run, composed, tmp_path, canary):
    _, folder = run(*SMALL, "save_models=true")
    saved = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    saved |= {"plugins": ["canary_module"], "architecture": EVIL, "sources": {"canary_module": "0"}}
    if come == "clone":
        told = {
            f"{section}/{name}": text
            for section, values in clone.sections(saved).items()
            for name, text in values.items()
        }
        saved = clone.config_of(told)
        assert saved["plugins"] == ["canary_module"]
    OmegaConf.save(OmegaConf.create(saved), folder / "config.yaml")
    if come != "load":
        (folder / "result.json").unlink()  # with which the config would have to agree
    with pytest.raises(BadInput, match=r"architecture\._target_=canary_module\.touch: not allowed"):
        softtargets.load(folder) if come == "load" else run(f"rerun={folder}")


# edits

NET = """
from torch import nn


def net(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, classes))


def leave(original, forget, retain, fit):
    return original


def flat(source):
    return source.one_hot() * 0 + 1 / source.classes
"""


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """`edited(module, comment)`: writes a module with these parts, and takes it for new."""
    monkeypatch.syspath_prepend(tmp_path)

    def edit(module: str, comment: str) -> None:
        (tmp_path / f"{module}.py").write_text(f"# {comment}{NET}")
        importlib.invalidate_caches()
        allowed_targets._hashed.cache_clear()

    yield edit
    allowed_targets._hashed.cache_clear()


def test_an_edited_part_is_never_served_what_its_earlier_self_made(run, composed, edited, tmp_path):
    networks = (SMALL[0], *SMALL[2:], "architecture._target_=edited_net.net", "~architecture.hidden")
    own = ("mu_algo._target_=edited_rest.leave", "~mu_algo.alpha", "targets.forget._target_=edited_rest.flat")
    asked = (*networks, *own, "plugins=[edited_net,edited_rest]", f"store.dir={tmp_path}/store")
    edited("edited_net", "first"), edited("edited_rest", "first")
    first = run(*asked)[0]
    assert first["cost"]["made"] == ["original", "retrained"]
    assert run(*asked)[0]["cost"]["made"] == []
    edited("edited_rest", "second")
    second = run(*asked)[0]
    assert second["cost"]["made"] == [], "an algorithm has no part in the trained models"
    edited("edited_net", "second")
    assert run(*asked)[0]["cost"]["made"] == ["original", "retrained"]
    edited("edited_net", "first"), edited("edited_rest", "first")
    assert run(*asked)[0]["cost"]["made"] == []
    assert (
        config_hash(composed(*asked)) == first["provenance"]["config_hash"] != second["provenance"]["config_hash"]
    )
    targets = sorted((tmp_path / "store/targets").glob("*/manifest.json"))
    assert len({file.parent.name for file in targets}) == 6  # of both sides, by three pairs of sources


def test_every_file_of_a_package_counts_and_no_other(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "edited_package/below").mkdir(parents=True)
    for name in ("one.py", "below/two.py"):
        (tmp_path / "edited_package" / name).write_text("x = 1\n")
    node = {"mu_algo": {"_target_": "edited_package.one.x"}}

    def hashed() -> str:
        allowed_targets._hashed.cache_clear()
        return allowed_targets.sources(node, ["edited_package.one"])["edited_package"]

    before = hashed()
    (tmp_path / "edited_package/notes.txt").write_text("no source")
    assert hashed() == before
    (tmp_path / "edited_package/below/two.py").write_text("x = 2\n")
    assert hashed() != before
    assert (
        allowed_targets.sources(node, ["another"])
        == allowed_targets.sources({"mu_algo": {"_target_": "softtargets.x"}}, [])
        == {}
    )
