"""The words of a command line: what is refused before Hydra reads them, and what Hydra refuses in words of ours.

Imported by `run.py --help` too: no torch here.
"""

import contextlib
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
from softtargets.errors import BadInput, nearest
from softtargets.layout import CONF

FOLLOWS = {"training": "architecture", "unlearn": "mu_algo"}
"""Groups whose option is that of another, unless it is typed."""


def check_words(words: list[str]) -> None:
    """Refuse flags that Hydra does not know, words that are no overrides, and groups without an option."""
    parser = hydra_names.parser(_refuse_flag)
    for override in OverridesParser.create().parse_overrides(parser.parse_args(words).overrides):
        _check_group(override)


def _refuse_flag(message: str) -> NoReturn:
    raise BadInput(f"{message}; settings have no dashes, as in seed=1, and -m comes before all of them")


def _check_group(override: Override) -> None:
    group, value = override.key_or_group, override.value()
    if not group or not (CONF / group).is_dir() or override.is_sweep_override():
        return
    if override.is_delete() and group != "tuned":
        raise BadInput(f"{override.input_line}: a run needs one; {_allowed(group)}")
    if not isinstance(value, str) and not override.is_delete():
        raise BadInput(f"{override.input_line}: must be the name of an option; {_allowed(group)}")


def _allowed(group: str) -> str:
    names = sorted(file.stem for file in (CONF / group).glob("*.yaml"))
    return f"allowed are {', '.join(names)}" if names else f"groups begin with {group}/"


def sentence(error: Exception) -> str:
    """Say in one line, in the words of the command line, what Hydra or OmegaConf refuses."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, option = error.missing_cfg_file.rpartition("/")
        allowed = ", ".join(error.options)
        if (leader := FOLLOWS.get(group)) and not any(word.startswith(f"{group}=") for word in sys.argv):
            usual = "mlp" if group == "training" else "graddiff"
            return (
                f"{leader}={option}: {group} follows it, and has no option of that name; type {group}={usual}, or "
                f"another of {allowed}"
            )
        return f"{group}={option}: no such option; allowed are {allowed}{nearest(option, error.options)}"
    if isinstance(error, OverrideParseException):
        reason = " ".join(
            text.partition("\nSee ")[0].removeprefix(f"Error parsing override '{error.override}'").split()
        )
        return (
            f"{error.override}: cannot be read ({reason}); it must be setting=value, the value in quotes where it "
            f"holds anything but letters, digits and -_./{_in_quotes(error.override)}"
        )
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        return f"{mark.name}, line {mark.line + 1}: {error.problem or error.context}; it must be plain YAML"
    if found := re.search(r"Could not override '(.*?)'", text):
        given = next((word for word in sys.argv if word.startswith(f"{found[1]}=")), found[1])
        return _of_dictionary(given) or f"{given}: no such setting{_beside(found[1])}"
    if found := re.search(r"Could not delete from config. '(.*?)' does not exist", text):
        return f"~{found[1]}: no such setting{_beside(found[1])}"
    if found := re.search(r"Ambiguous value for argument '(.+?)'", text):
        return f"{found[1]}: one value is allowed here; several make a sweep, with -m as the first argument"
    if found := re.search(r"Sweep parameters '(.+?)' requires --multirun", text):
        return f"{found[1]}: several values make a sweep; type -m as the first argument"
    if found := re.fullmatch(r"Error merging override (.+)", text, re.DOTALL):
        return f"{found[1]}: {_line(error.__cause__)}"
    if file := hydra_names.option_file(error):
        return f"{file}: {_line(error if str(error) else error.__cause__ or error)}; it must be plain YAML"
    return _line(error)


def _in_quotes(word: str) -> str:
    """Show a word with its value in quotes, as a shell takes it; nothing for a list and the like."""
    setting, equals, value = word.partition("=")
    if not equals or not value or paths.OWN_GRAMMAR.match(value):
        return ""
    return f", as in {shlex.quote(f'{setting}={paths.in_quotes(value)}')}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).partition("\n    full_key")[0].split()) or type(error).__name__


def _leaves(node: dict, above: str = "") -> list[str]:
    """Return the dotted names of all settings."""
    found = []
    for name, child in node.items():
        whole = not isinstance(child, dict) or not child
        found += [f"{above}{name}"] if whole else _leaves(child, f"{above}{name}.")
    return found


def _of_dictionary(given: str) -> str | None:
    """Say which key of a dictionary that was typed is no setting, and how a part of one's own is typed.

    Returns None for a word whose value is no dictionary, or whose keys are all there.
    """
    override = OverridesParser.create().parse_override(given) if "=" in given else None
    if override is None or override.is_sweep_override() or not isinstance(override.value(), dict):
        return None
    setting, values = override.key_or_group, override.value()
    node = OmegaConf.select(OmegaConf.create(_chosen()), setting)
    unknown = [] if node is None else [name for name in values if name not in node]
    if not unknown:
        return None
    sentence = f"{given}: {setting}.{unknown[0]} is no such setting{_beside(f'{setting}.{unknown[0]}')}"
    if "_target_" not in values:
        return sentence
    words = [f"{'' if name in node else '+'}{setting}.{name}={hydra_names.typed(v)}" for name, v in values.items()]
    words += [f"~{setting}.{name}" for name in node if name not in values and not name.startswith("_")]
    return f"{sentence}; type {shlex.join(words)}"


def _chosen() -> dict:
    """Return the config of the groups that were chosen."""
    words = [word.partition("=") for word in sys.argv[1:]]
    groups = [f"{group}={option}" for group, _, option in words if (CONF / group / f"{option}.yaml").is_file()]
    running = GlobalHydra.instance().is_initialized()
    with contextlib.nullcontext() if running else initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose("config", groups, return_hydra_config=True))


def _beside(setting: str) -> str:
    """List what could have been meant: what stands beside the setting under the groups that were chosen."""
    node, known = _chosen(), []
    deeper = _leaves({name: child for name, child in node.items() if name not in ("hydra", "tuned")})
    for part in setting.split("."):
        if not isinstance(node, dict) or part not in node:
            break
        known.append(part)
        node = node[part]
    names = list(map(str, node)) if isinstance(node, dict) else []
    where = ".".join(known) or "the top level"
    last = setting.rpartition(".")[2]
    below = [name for name in deeper if name.rpartition(".")[2] == last]
    own = [name for name in below if name.startswith(f"{setting.partition('.')[0]}.")] if "." in setting else below
    meant = nearest(part, names) or (f"; did you mean {' or '.join(own)}?" if own else "")
    return f"; allowed under {where} are {', '.join(names)}{meant}" if names else ""
