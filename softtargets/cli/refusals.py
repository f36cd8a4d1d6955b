"""Refusals of a command line: those before Hydra reads it, and Hydra's own, put in our words.

`run.py --help` imports this module: no torch here.
"""

import contextlib
import os
import re
import shlex
import sys
from typing import NoReturn

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from yaml import MarkedYAMLError

from softtargets.compat import hydra_names
from softtargets.config import paths
from softtargets.errors import BadInput, nearest, program
from softtargets.layout import CONF

FOLLOWS = {"training": "architecture", "unlearn": "mu_algo"}
"""Groups whose option follows that of another group, unless the user chooses it."""


def check_words(words: list[str]) -> None:
    """Raise BadInput for unknown flags, words that are not overrides, and groups without an option."""
    parser = hydra_names.parser(_refuse_flag)
    for override in OverridesParser.create().parse_overrides(parser.parse_args(words).overrides):
        _check_group(override)


def _refuse_flag(message: str) -> NoReturn:
    _, _, words = message.partition("unrecognized arguments: ")
    if not words:
        raise BadInput(message)
    if words.startswith("-"):
        raise BadInput(f"{message}. Settings have no dashes, as in seed=1")
    raise BadInput(f"{message}. -m must be the first argument: {program()} -m {words}")


def _check_group(override: Override) -> None:
    group, value = override.key_or_group, override.value()
    if not group or not (CONF / group).is_dir() or override.is_sweep_override():
        return
    if override.is_delete() and group != "tuned":
        raise BadInput(f"{override.input_line}: a run needs this group; {_allowed(group)}")
    if not isinstance(value, str) and not override.is_delete():
        raise BadInput(f"{override.input_line}: must be the name of an option; {_allowed(group)}")


def _allowed(group: str) -> str:
    names = sorted(file.stem for file in (CONF / group).glob("*.yaml"))
    return f"choose one of {', '.join(names)}" if names else f"choose a group that begins with {group}/"


def refusal(error: Exception) -> str:
    """Return in one line, with settings as they are typed, what Hydra or OmegaConf refuses."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, option = error.missing_cfg_file.rpartition("/")
        allowed = ", ".join(error.options)
        if (leader := FOLLOWS.get(group)) and not any(word.startswith(f"{group}=") for word in sys.argv):
            usual = "adamw" if group == "training" else "graddiff"
            return (
                f"{leader}={option}: {group} follows {leader} and has no option {option}. Type {group}={usual} or "
                f"another of {allowed}"
            )
        return f"{group}={option}: no such option; choose one of {allowed}{nearest(option, error.options)}"
    if isinstance(error, OverrideParseException):
        reason = " ".join(
            text.partition("\nSee ")[0].removeprefix(f"Error parsing override '{error.override}'").split()
        )
        return (
            f"{error.override}: cannot be read ({reason}). Type setting=value, with quotes around a value of "
            f"other characters than letters, digits and -_./{_in_quotes(error.override)}"
        )
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        return f"{mark.name}, line {mark.line + 1}: {error.problem or error.context}. The file must be plain YAML"
    if match := re.search(r"Could not override '(.*?)'", text):
        from softtargets.config.settings import is_optional  # imports pydantic, which --help can do without

        word = next((word for word in sys.argv if word.startswith(f"{match[1]}=")), match[1])
        if is_optional(match[1]):
            return (
                f"{word}: the chosen preset does not list this setting. To add it, type {shlex.quote(f'+{word}')}"
            )
        return _of_dictionary(word) or f"{word}: no such setting{_beside(match[1])}"
    if match := re.search(r"Could not delete from config. '(.*?)' does not exist", text):
        return f"~{match[1]}: no such setting{_beside(match[1])}"
    if match := re.search(r"Ambiguous value for argument '(.+?)'", text):
        return f"{match[1]}: takes one value; several values make a sweep, with -m as the first argument"
    if match := re.search(r"Sweep parameters '(.+?)' requires --multirun", text):
        return f"{match[1]}: several values make a sweep; type -m as the first argument"
    if match := re.fullmatch(r"Error merging override (.+)", text, re.DOTALL):
        reason = _line(error.__cause__)
        if reason == "Cannot merge DictConfig with ListConfig":
            reason = f"must be a group of settings. Set one, as in {match[1].partition('=')[0]}.SETTING=VALUE"
        return f"{match[1]}: {reason}"
    if file := hydra_names.option_file(error):
        return f"{file}: {_line(error if str(error) else error.__cause__ or error)}. The file must be plain YAML"
    return _line(error)


def _in_quotes(word: str) -> str:
    """Return an example of the word with its value in quotes for a shell; empty for a list and the like."""
    setting, equals, value = word.partition("=")
    if not equals or not value or paths.OWN_GRAMMAR.match(value):
        return ""
    return f", as in {shlex.quote(f'{setting}={paths.in_quotes(value)}')}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).partition("\n    full_key")[0].split()) or type(error).__name__


def _leaves(node: dict, above: str = "") -> list[str]:
    """Return the dotted names of all settings."""
    names = []
    for name, child in node.items():
        leaf = not isinstance(child, dict) or not child
        names += [f"{above}{name}"] if leaf else _leaves(child, f"{above}{name}.")
    return names


def _of_dictionary(word: str) -> str | None:
    """Return which key of a typed dictionary is no setting, and how to type another part instead.

    None for a word whose value is no dictionary, or whose keys are all settings.
    """
    override = OverridesParser.create().parse_override(word) if "=" in word else None
    if override is None or override.is_sweep_override() or not isinstance(override.value(), dict):
        return None
    setting, values = override.key_or_group, override.value()
    node = OmegaConf.select(OmegaConf.create(_chosen()), setting)
    unknown = [] if node is None else [name for name in values if name not in node]
    if not unknown:
        return None
    sentence = f"{word}: {setting}.{unknown[0]} is no such setting{_beside(f'{setting}.{unknown[0]}')}"
    if "_target_" not in values:
        return sentence
    words = [
        f"{'' if name in node else '+'}{setting}.{name}={hydra_names.as_typed(v)}" for name, v in values.items()
    ]
    words += [f"~{setting}.{name}" for name in node if name not in values and not name.startswith("_")]
    return f"{sentence}; type {shlex.join(words)}"


def _chosen() -> dict:
    """Return the config with the groups that the command line chooses."""
    words = [word.partition("=") for word in sys.argv[1:]]
    groups = [f"{group}={option}" for group, _, option in words if os.path.isfile(CONF / group / f"{option}.yaml")]
    running = GlobalHydra.instance().is_initialized()
    with contextlib.nullcontext() if running else initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose("config", groups, return_hydra_config=True))


def _beside(setting: str) -> str:
    """Return the settings beside an unknown one, and those that may have been meant, for the end of a sentence."""
    node, path = _chosen(), []
    deeper = _leaves({name: child for name, child in node.items() if name not in ("hydra", "tuned")})
    for part in setting.split("."):
        if not isinstance(node, dict) or part not in node:
            break
        path.append(part)
        node = node[part]
    names = list(map(str, node)) if isinstance(node, dict) else []
    where = ".".join(path) or "the top level"
    last = setting.rpartition(".")[2]
    below = [name for name in deeper if name.rpartition(".")[2] == last]
    own = [name for name in below if name.startswith(f"{setting.partition('.')[0]}.")] if "." in setting else below
    near = nearest(part, names) or (f"; did you mean {' or '.join(own)}?" if own else "")
    meant = _options_with(setting) or near
    return f"; {where} has {', '.join(names)}{meant}" if names else ""


def _options_with(setting: str) -> str:
    """Return which options of its group have a setting that the chosen one lacks, for the end of a sentence."""
    above, _, name = setting.rpartition(".")
    files = sorted(CONF.joinpath(*above.split(".")).glob("*.yaml")) if above else []
    options = [f"{above.replace('.', '/')}={file.stem}" for file in files if name in list(OmegaConf.load(file))]
    shown = [*options[:3], *(["others"] if len(options) > 3 else [])]
    *first, last = shown or [""]
    return f"; it is a setting of {', '.join(first)}{' and ' if first else ''}{last}" if options else ""
