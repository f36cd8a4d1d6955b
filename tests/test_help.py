"""`--help`: the overview, and one group whole with what each setting allows."""

import re
import shlex
import subprocess
import sys
import typing

import pytest
from conftest import CONF, ROOT
from hydra.utils import get_object
from omegaconf import OmegaConf

from softtargets.cli import help, options, refusals, signatures
from softtargets.config import settings as models
from softtargets.errors import BadInput
from softtargets.mu_algo import INPUTS

GROUPS = sorted(
    {file.parent.relative_to(CONF).as_posix() for file in CONF.glob("*/**/*.yaml")}
    - {folder.relative_to(CONF).as_posix() for folder in CONF.glob("tuned/**/")}
    - {"hydra/sweeper", "search"}
)
PARTS = sorted(
    {
        match[1]
        for file in CONF.glob("*/**/*.yaml")
        for match in re.finditer(r"^ *_target_: (softtargets\S+)", file.read_text(), re.MULTILINE)
    }
)


def shown(group: str) -> dict[str, str]:
    """Return what a group's page says of each option, in one line."""
    words: dict[str, list[str]] = {}
    option = ""
    for line in help.help_page(["--help", group]).splitlines():
        if line.startswith(f"{group}="):
            option = line.partition("=")[2]
        elif option and line.startswith("    "):
            words.setdefault(option, []).append(line)
        else:
            option = ""
    return {option: " ".join(" ".join(lines).split()) for option, lines in words.items()}


def test_the_overview_names_every_group_and_option_on_one_screen(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")  # the number of lines depends on it
    text = help.help_page(["--help"])
    assert len(text.splitlines()) < 65
    assert list(help.ABOUT) == [group for group in help.ABOUT if f"\n  {group}=" in text]
    assert sorted([*help.ABOUT]) == sorted([*GROUPS, "tuned"])
    for group in GROUPS:
        assert all(file.stem in text for file in (CONF / group).glob("*.yaml")), group


@pytest.mark.parametrize("example", help.EXAMPLES)
def test_examples_name_what_there_is(example):
    words = shlex.split(example)
    refusals.check_words(words)
    for group, value in (word.split("=", 1) for word in words if word != "-m"):
        for option in value.split(",") if (CONF / group).is_dir() else ():
            assert (CONF / group / f"{option}.yaml").is_file(), (group, option)


@pytest.mark.parametrize("group", GROUPS)
def test_a_page_has_every_option_with_its_comment_and_docstring(group):
    texts = shown(group)
    for file in (CONF / group).glob("*.yaml"):
        assert " ".join(options.first_comment(file).split()) in texts[file.stem]
        target = re.search(r"^_target_: (softtargets\S+)", file.read_text(), re.MULTILINE)
        if target:
            first = get_object(target[1]).__doc__.partition("\n")[0]
            assert " ".join(first.split()) in texts[file.stem]


@pytest.mark.parametrize("group", [group for group in GROUPS if group not in ("targets", "experiment")])
def test_settings_and_values_are_those_of_the_files(group):
    for option in options.options(group):
        node = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{option.name}.yaml"))
        values = {setting.name: OmegaConf.create(f"value: {setting.value}") for setting in option.settings}
        for name, value in leaves(node, group.replace("/", ".")):
            assert OmegaConf.to_container(values[name])["value"] == value, name


def leaves(node: dict, above: str) -> list[tuple[str, object]]:
    """Dotted names and values of what an option file sets, Hydra's own keys excluded."""
    hidden = ("defaults", "_partial_")
    pairs = [(f"{above}.{name}", value) for name, value in node.items() if name not in hidden]
    pairs = [(name, value) for name, value in pairs if name != f"{above}._target_"]
    deeper = [leaf for name, value in pairs if isinstance(value, dict) for leaf in leaves(value, name)]
    return [*deeper, *((name, value) for name, value in pairs if not isinstance(value, dict))]


@pytest.mark.parametrize("target", PARTS)
def test_allowed_values_of_a_part_are_those_of_its_annotations(target):
    part = get_object(target)
    hints = typing.get_type_hints(part, include_extras=True)
    words = signatures.parameters(target, set(hints) - {"input_shape", "classes", "return", *INPUTS})
    for name, text in words.items():
        assert bounds(text) == limits(hints[name]), (name, text)


@pytest.mark.parametrize("name", ["Settings", "DatasetSettings", "Training", "Unlearning", "LauncherSettings"])
def test_allowed_values_of_a_group_are_those_of_its_class(name):
    words = signatures.fields(name)
    hints = typing.get_type_hints(getattr(models, name), include_extras=True)
    flat = {key: hint for key, hint in hints.items() if key in words}
    assert len(flat) > 4
    for key, hint in flat.items():
        assert bounds(words[key]) == limits(hint), key


def test_bounds_in_words_by_hand():
    allowed = signatures.fields("Settings", "Unlearning", "DatasetSettings")
    assert allowed["threads"] == "whole number from 1 to 1024"
    assert allowed["seed"] == "whole number from 0 and below 2^63"
    assert allowed["clip_norm"] == "number above 0 and at most 10^6, or null"
    assert allowed["validation_fraction"] == "number above 0 and below 1"
    assert allowed["precision"] == "float32 or bf16"
    assert allowed["device"] == "text"  # its comment in conf/config.yaml has the names
    assert allowed["diagnosis.hard_like"] == "number above 0 and at most 1"
    assert allowed["mean"] == "list of: number from 0 to 1 (1 to 3 of them)"
    assert signatures.optimizer()["betas"] == "list of: number from 0 and below 1 (2 of them)"


def bounds(text: str) -> set[float]:
    """Numbers in the words for an annotation; those of lengths are in brackets."""
    numbers = (word.strip(",") for word in text.partition("(")[0].split())
    return {value(word) for word in numbers if word.lstrip("-")[:1].isdigit()}


def value(word: str) -> float:
    base, _, power = word.partition("^")
    return float(base) ** float(power or 1)


def limits(hint: object) -> set[float]:
    """Bounds at any depth of an annotation, and the choices of a Literal of numbers."""
    if typing.get_origin(hint) is typing.Literal:
        return {float(choice) for choice in typing.get_args(hint) if not isinstance(choice, str)}
    numbers = {
        getattr(hint, name)
        for name in ("ge", "gt", "le", "lt", "multiple_of")
        if getattr(hint, name, None) is not None
    }
    inner = [*typing.get_args(hint), *getattr(hint, "metadata", ())]
    return set(map(float, numbers)).union(*map(limits, inner))


def test_settings_outside_the_groups_are_those_of_config_yaml():
    node = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"))
    names = [name.removeprefix(".") for name, _ in leaves(node, "") if not name.startswith(".hydra")]
    assert sorted(setting.name for setting in options.top_level()) == sorted(names)
    assert all(setting.allowed for setting in options.top_level())


def test_an_unknown_group_is_one_sentence(here):
    ended = here("--help", "target")
    assert ended.returncode == 2
    assert ended.stderr.startswith("run.py: --help target: no such group; choose one of dataset,")
    assert ended.stderr.endswith("did you mean targets?\n")
    assert ended.stderr.count("\n") == 1
    with pytest.raises(BadInput, match="did you mean unlearn"):
        help.help_page(["unlern", "-h"])


@pytest.mark.parametrize("words", [(), ("targets",)], ids=["overview", "group"])
def test_help_imports_no_torch(words):
    code = (
        "import sys; from softtargets.cli.main import command; command(None);"
        "assert 'torch' not in sys.modules and 'pydantic' not in sys.modules"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "--help", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "softtargets run" in ended.stdout or "targets=soft" in ended.stdout
